//! Files that add delivery streams.

use std::fs;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        load_in(&self.0.path().join("hydrant.yaml"), &environment())
    }

    fn names(&self) -> Vec<String> {
        let config = self.load().unwrap_or_else(|errors| panic!("{errors}"));
        config.delivery_streams.into_iter().map(|stream| stream.name).collect()
    }

    /// As the operator sees them, but for the folder's own name.
    fn errors(&self) -> String {
        let errors = self.load().expect_err("a mistake").to_string();
        errors.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn stream(name: &str) -> String {
    STREAM.replace("web", name)
}

#[test]
fn included_files_add_their_delivery_streams_in_the_order_of_their_names() {
    let (web, api, jobs) = (stream("web"), stream("api"), stream("jobs"));
    let main = format!("include: [conf.d/*.yaml, more/jobs.yaml, 'none/*.yaml']\n{}", stream("main"));
    let folder = Folder::with(&[
        ("hydrant.yaml", &main),
        ("conf.d/20-web.yaml", &web),
        ("conf.d/10-api.yaml", &api),
        ("conf.d/.10-api.yaml", "not: [looked at"),
        ("conf.d/old/x.yaml", "not: [looked at"),
        ("more/jobs.yaml", &jobs),
    ]);
    assert_eq!(folder.names(), ["main", "api", "web", "jobs"]);
}

#[test]
fn an_included_file_is_enough() {
    let folder = Folder::with(&[("hydrant.yaml", "include: '*.yaml'\n"), ("web.yaml", STREAM)]);
    assert_eq!(folder.names(), ["web"]);
}

#[test]
fn a_glob_crosses_folders_only_where_it_says_so() {
    let folder = Folder::with(&[("hydrant.yaml", "include: 'conf.d/**/*.yaml'\n"), ("conf.d/a/b/web.yaml", STREAM)]);
    assert_eq!(folder.names(), ["web"]);
}

#[test]
fn mistakes_of_all_files_are_reported_with_their_file() {
    let folder = Folder::with(&[
        ("hydrant.yaml", &format!("include: conf.d/*.yaml\nmemory: 1\n{STREAM}")),
        ("conf.d/a.yaml", STREAM),
        ("conf.d/b.yaml", "state_dir: /a\n"),
        ("conf.d/c.yaml", "include: d.yaml\ndelivery_streams: []\n"),
        ("conf.d/d.yaml", ""),
        ("conf.d/e.yaml", "delivery_streams: [\n"),
    ]);
    let expected = "\
hydrant.yaml:2:1: unknown key `memory`
    did you mean `memory_limit_mb`? known keys: `state_dir`, `shutdown_timeout_seconds`, `memory_limit_mb`, `admin`, `aws`, `include`, `schema_registries`, `delivery_streams`
conf.d/a.yaml:2:11: there is a delivery stream `web` already, at hydrant.yaml:4:11
    names are unique, over all included files too
conf.d/b.yaml:1:1: unknown key `state_dir`
    known keys: `delivery_streams`
conf.d/b.yaml:1:1: the file needs `delivery_streams`
conf.d/c.yaml:1:1: unknown key `include`
    known keys: `delivery_streams`
conf.d/d.yaml:1:1: the configuration is empty
    the least is one delivery stream:
    delivery_streams:
      - name: web-access
        source: { file: { paths: /var/log/nginx/access.log } }
        destination: { directory: { path: /data/out } }
conf.d/e.yaml:2:1: not valid YAML: while parsing a node, did not find expected node content";
    assert_eq!(folder.errors(), expected);
}

#[test]
fn the_limit_of_values_is_one_for_all_files() {
    let many = format!("delivery_streams: [{}]\n", "1,".repeat(60_000));
    let folder = Folder::with(&[("hydrant.yaml", "include: '*.yaml'\n"), ("a.yaml", &many), ("b.yaml", &many)]);
    assert!(folder.errors().contains("and ") && folder.load().unwrap_err().errors().len() == 100);
    let one = Folder::with(&[("hydrant.yaml", "include: b.yaml\n"), ("b.yaml", &many.replace("1,", "1,1,"))]);
    assert!(one.errors().starts_with("b.yaml:1:"), "{}", one.errors());
    assert!(one.errors().contains("more than 100000 values"), "{}", one.errors());
}

#[test]
fn a_folder_is_not_a_file() {
    let folder = Folder::with(&[("hydrant.yaml", "include: conf.d\n"), ("conf.d/web.yaml", STREAM)]);
    assert_eq!(folder.errors(), "hydrant.yaml:1:10: `conf.d` cannot be included: it is a folder");
    let folder = Folder::with(&[]);
    assert_eq!(folder.errors(), "hydrant.yaml:1:1: the configuration cannot be read: there is no such file");
}
