//! The projects' files.
//!
//! Always true: every project has the interface of this very binary.

use super::Language;

/// A path in the project, and what is there. `{{name}}` stands for the project's name, `{{lib}}` for it with underscores.
type File = (&'static str, &'static [u8]);

macro_rules! templates {
    ($($path:literal from $source:literal,)*) => {
        &[$(($path, include_bytes!($source))),*]
    };
}

const COMMON: &[File] = templates! {
    ".gitignore" from "templates/gitignore",
    "wit/transform.wit" from "../../../transforms/wit/transform.wit",
};

const RUST: &[File] = templates! {
    "Cargo.toml" from "templates/rust/Cargo.toml.in",
    "README.md" from "templates/rust/README.md",
    "src/lib.rs" from "templates/rust/src/lib.rs",
    "src/tag.rs" from "templates/rust/src/tag.rs",
};

const JAVASCRIPT: &[File] = templates! {
    "README.md" from "templates/javascript/README.md",
    "build.js" from "templates/javascript/build.js",
    "package.json" from "templates/javascript/package.json",
    "tag.js" from "templates/javascript/tag.js",
    "tag.test.js" from "templates/javascript/tag.test.js",
    "transform.js" from "templates/javascript/transform.js",
};

const PYTHON: &[File] = templates! {
    "README.md" from "templates/python/README.md",
    "app.py" from "templates/python/app.py",
    "requirements.txt" from "templates/python/requirements.txt",
    "tag.py" from "templates/python/tag.py",
    "test_tag.py" from "templates/python/test_tag.py",
};

/// The bindings are those of the example in C.
const C: &[File] = templates! {
    "Makefile" from "templates/c/Makefile",
    "README.md" from "templates/c/README.md",
    "bindings/transform.c" from "../../../transforms/pass-through/bindings/transform.c",
    "bindings/transform.h" from "../../../transforms/pass-through/bindings/transform.h",
    "bindings/transform_component_type.o" from "../../../transforms/pass-through/bindings/transform_component_type.o",
    "keep.h" from "templates/c/keep.h",
    "test.c" from "templates/c/test.c",
    "transform.c" from "templates/c/transform.c",
};

/// All files of a project.
pub(super) fn files(language: Language) -> impl Iterator<Item = File> {
    let own = match language {
        Language::Rust => RUST,
        Language::Javascript => JAVASCRIPT,
        Language::Python => PYTHON,
        Language::C => C,
    };
    COMMON.iter().chain(own).copied()
}
