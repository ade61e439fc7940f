;; Answers that no toolchain makes. The digit that is `config` says which one:
;; 0 each record becomes the same megabyte      1 a partition key's name is not UTF-8
;; 2 a reason is not UTF-8                      3 data lies outside of the memory
;; 4 an outcome of an unknown kind              5 a list of outcomes longer than the memory
;; 6 the list of outcomes is not aligned        7 each record becomes 10,000 records, all of them the same megabyte
;; 8 the answer's place is outside of the memory
;; 9 everything as it should be: each record becomes "ok"
(component
  (import "hydrant:transform/types@1.0.0" (instance $types
    (type $file' (record (field "path" string) (field "offset" u64)))
    (export "file-source" (type $file (eq $file')))
    (type $kinesis' (record (field "shard-id" string) (field "partition-key" string) (field "sequence-number" string)
      (field "subsequence-number" u64)))
    (export "kinesis-source" (type $kinesis (eq $kinesis')))
    (type $source' (variant (case "file" $file) (case "kinesis" $kinesis)))
    (export "source" (type $source (eq $source')))
    (type $input' (record (field "data" (list u8)) (field "approximate-arrival-timestamp" u64) (field "source" $source)))
    (export "input" (type $input (eq $input')))
    (type $output' (record (field "data" (list u8)) (field "partition-keys" (list (tuple string string)))))
    (export "output" (type $output (eq $output')))
    (type $outcome' (variant (case "ok" $output) (case "many" (list $output)) (case "dropped")
      (case "processing-failed" string)))
    (export "outcome" (type $outcome (eq $outcome')))))
  (alias export $types "input" (type $input'))
  (import "input" (type $input (eq $input')))
  (alias export $types "outcome" (type $outcome'))
  (import "outcome" (type $outcome (eq $outcome')))
  (core module $module
    (memory (export "memory") 1)
    (global $mode (mut i32) (i32.const 0))
    ;; Bump allocation; each instance meets one batch.
    (global $free (mut i32) (i32.const 1024))
    (func $realloc (export "realloc") (param i32 i32 i32) (param $bytes i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get $bytes)))
      (loop $grow
        (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
          (then
            (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
            (br $grow))))
      (local.get $at))
    (data (i32.const 16) "ok\ff\fe")

    (func (export "init") (param $config i32) (param i32) (result i32)
      (global.set $mode (i32.sub (i32.load8_u (local.get $config)) (i32.const 48)))
      (i32.const 8)) ;; zeros: ok

    (func $alloc (param $bytes i32) (result i32)
      (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (local.get $bytes)))

    ;; An `output`, also behind an outcome's kind: data (pointer, length), keys (pointer, length).
    (func $output (param $at i32) (param $data i32) (param $bytes i32) (param $keys i32) (param $count i32)
      (i32.store (local.get $at) (local.get $data))
      (i32.store offset=4 (local.get $at) (local.get $bytes))
      (i32.store offset=8 (local.get $at) (local.get $keys))
      (i32.store offset=12 (local.get $at) (local.get $count)))

    ;; One outcome is 20 bytes: its kind, then at 4 what belongs to it.
    (func $outcome (param $at i32) (local $to i32) (local $key i32) (local $left i32)
      (local.set $to (i32.add (local.get $at) (i32.const 4)))
      (if (i32.eq (global.get $mode) (i32.const 0)) (then
        (call $output (local.get $to) (call $megabyte) (i32.const 1048576) (i32.const 0) (i32.const 0)) (return)))
      (if (i32.eq (global.get $mode) (i32.const 1)) (then
        (local.set $key (call $alloc (i32.const 16)))
        (call $output (local.get $key) (i32.const 18) (i32.const 2) (i32.const 16) (i32.const 2)) ;; name, value
        (call $output (local.get $to) (i32.const 16) (i32.const 2) (local.get $key) (i32.const 1)) (return)))
      (if (i32.eq (global.get $mode) (i32.const 2)) (then
        (i32.store8 (local.get $at) (i32.const 3))
        (call $output (local.get $to) (i32.const 16) (i32.const 4) (i32.const 0) (i32.const 0)) (return)))
      (if (i32.eq (global.get $mode) (i32.const 3)) (then
        (call $output (local.get $to) (i32.const -16) (i32.const 64) (i32.const 0) (i32.const 0)) (return)))
      (if (i32.eq (global.get $mode) (i32.const 4)) (then (i32.store8 (local.get $at) (i32.const 9)) (return)))
      (if (i32.eq (global.get $mode) (i32.const 7)) (then
        (i32.store8 (local.get $at) (i32.const 1))
        (local.set $key (call $alloc (i32.const 160000)))
        (i32.store (local.get $to) (local.get $key))
        (i32.store offset=4 (local.get $to) (i32.const 10000))
        (local.set $left (i32.const 10000))
        (loop $next
          (call $output (local.get $key) (call $megabyte) (i32.const 1048576) (i32.const 0) (i32.const 0))
          (local.set $key (i32.add (local.get $key) (i32.const 16)))
          (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (return)))
      (call $output (local.get $to) (i32.const 16) (i32.const 2) (i32.const 0) (i32.const 0)))

    (global $buffer (mut i32) (i32.const 0))
    (func $megabyte (result i32)
      (if (i32.eqz (global.get $buffer)) (then (global.set $buffer (call $alloc (i32.const 1048576)))))
      (global.get $buffer))

    (func (export "transform") (param i32) (param $count i32) (result i32) (local $answer i32) (local $at i32)
      (if (i32.eq (global.get $mode) (i32.const 8)) (then (return (i32.const -4))))
      (local.set $answer (call $alloc (i32.const 8)))
      (local.set $at (call $alloc (i32.add (i32.const 8) (i32.mul (local.get $count) (i32.const 20)))))
      (if (i32.eq (global.get $mode) (i32.const 6))
        (then (local.set $at (i32.add (local.get $at) (i32.const 1)))))
      (i32.store (local.get $answer) (local.get $at))
      (i32.store offset=4 (local.get $answer) (local.get $count))
      (if (i32.eq (global.get $mode) (i32.const 5))
        (then (i32.store offset=4 (local.get $answer) (i32.const 0x7ffffff)) (return (local.get $answer))))
      (loop $next
        (if (local.get $count) (then
          (call $outcome (local.get $at))
          (local.set $at (i32.add (local.get $at) (i32.const 20)))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br $next))))
      (local.get $answer)))
  (core instance $module (instantiate $module))
  (alias core export $module "memory" (core memory $memory))
  (alias core export $module "realloc" (core func $realloc))
  (alias core export $module "init" (core func $init))
  (alias core export $module "transform" (core func $transform))
  (func (export "init") (param "config" string) (result (result (error string)))
    (canon lift (core func $init) (memory $memory) (realloc $realloc)))
  (func (export "transform") (param "records" (list $input)) (result (list $outcome))
    (canon lift (core func $transform) (memory $memory) (realloc $realloc))))
