;; No component but a core module, as many compilers make it.
(module
  (memory (export "memory") 1)
  (func (export "init") (param i32 i32) (result i32) (i32.const 8))
  (func (export "transform") (param i32 i32) (result i32) (i32.const 8)))
