;; The module's start function traps.
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
    (func $trap unreachable)
    (start $trap)
    ;; Bump allocation; each instance meets one batch.
    (global $free (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32) (param $bytes i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get $bytes)))
      (loop $grow
        (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
          (then
            (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
            (br $grow))))
      (local.get $at))
    (func (export "init") (param i32 i32) (result i32) (i32.const 8)) ;; zeros: ok
    ;; No outcomes, for any number of records.
    (func (export "transform") (param i32 i32) (result i32) (i32.const 8)))
  (core instance $module (instantiate $module))
  (alias core export $module "memory" (core memory $memory))
  (alias core export $module "realloc" (core func $realloc))
  (alias core export $module "init" (core func $init))
  (alias core export $module "transform" (core func $transform))
  (func (export "init") (param "config" string) (result (result (error string)))
    (canon lift (core func $init) (memory $memory) (realloc $realloc)))
  (func (export "transform") (param "records" (list $input)) (result (list $outcome))
    (canon lift (core func $transform) (memory $memory) (realloc $realloc))))
