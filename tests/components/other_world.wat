;; A component of another world: a command.
(component
  (core module $module (func (export "run") (result i32) (i32.const 0)))
  (core instance $module (instantiate $module))
  (alias core export $module "run" (core func $run'))
  (func $run (result (result)) (canon lift (core func $run')))
  (component $shell
    (import "run" (func $run (result (result))))
    (export "run" (func $run)))
  (instance $run (instantiate $shell (with "run" (func $run))))
  (export "wasi:cli/run@0.2.0" (instance $run)))
