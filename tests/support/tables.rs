//! Tables of the documentation that name the tests which hold their rows.

use std::fs;
use std::path::Path;

/// Asserts that each row of the tables in `text` ends with the name of a test, and that there is a test of that name.
#[track_caller]
pub fn assert_every_row_names_its_test(text: &str) {
    let named: Vec<&str> =
        text.lines().filter_map(|line| line.strip_suffix("` |")?.rsplit_once("| `").map(|(_, name)| name)).collect();
    let is_rule = |line: &&str| line.starts_with("|---");
    let rows = text.lines().filter(|line| line.starts_with("| ")).count() - text.lines().filter(is_rule).count();
    assert_eq!(named.len(), rows, "a row without a test");
    let roots = ["src", "tests", "camera", "crates", "deploy/localcloud"];
    let sources: String = roots.into_iter().flat_map(|root| sources(Path::new(root))).collect();
    for name in named {
        assert!(sources.contains(&format!("fn {name}(")), "no test is called {name}");
    }
}

fn sources(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.extension() {
            _ if path.is_dir() => sources(&path),
            Some(extension) if extension == "rs" => vec![fs::read_to_string(&path).unwrap()],
            _ => Vec::new(),
        })
        .collect()
}
