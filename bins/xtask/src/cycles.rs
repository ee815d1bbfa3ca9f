//! `cargo xtask cycles`: no file of a crate may import another that imports it back, directly or through others.
//!
//! Imports of a child module from its parent do not count, since they are usual in Rust.

use crate::process::{Outcome, root};
use crate::source::{self, imports};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Names that each file of a crate imports from other files, by the indexes of both files.
type Graph = BTreeMap<usize, BTreeMap<usize, BTreeSet<String>>>;

/// Checks that the files of each crate of the workspace do not import each other in cycles. Tests are exempt.
///
/// # Errors
/// Returns all cycles.
pub(crate) fn check() -> Outcome {
    let top = root();
    let files = source::files(&top)?;
    let (mut count, mut text) = (0, String::new());
    let crates: BTreeSet<&Path> = files.iter().filter_map(|file| folder(file)).collect();
    for folder in &crates {
        let mut sources = Vec::new();
        for file in &files {
            let Ok(inside) = file.strip_prefix(folder.join("src")) else { continue };
            if !source::is_test(inside) {
                sources.push((inside.to_owned(), source::code(&source::read(&top, file)?)));
            }
        }
        for cycle in cycles(&sources) {
            count += 1;
            text.push_str(&format!("\n{}: {cycle}", folder.display()));
        }
    }
    if count > 0 {
        return Err(format!(
            "{count} import cycles; move what both sides need into a file below them:{text}"
        ));
    }
    println!("xtask: cycles: none in {} crates", crates.len());
    Ok(())
}

/// Returns the folder of the crate whose root module is in this file. `None` if it is not `src/lib.rs` or
/// `src/main.rs`.
fn folder(file: &Path) -> Option<&Path> {
    let folder = file.parent()?;
    let is_root = file.ends_with("src/lib.rs") || file.ends_with("src/main.rs");
    is_root.then(|| folder.parent()).flatten()
}

/// Returns a line for each cycle among the files of a crate, given as paths and code.
fn cycles(sources: &[(PathBuf, String)]) -> Vec<String> {
    let graph = graph(sources);
    let name = |file: usize| sources[file].0.display();
    components(sources.len(), &graph)
        .into_iter()
        .filter(|component| component.len() > 1)
        .map(|component| {
            let inside = |from: usize| {
                let imported = graph.get(&from).into_iter().flatten();
                imported.filter(|(to, _)| component.contains(*to))
            };
            let edges: Vec<String> = component
                .iter()
                .flat_map(|from| inside(*from).map(move |(to, names)| (*from, *to, names)))
                .map(|(from, to, names)| {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    format!("{} → {} ({})", name(from), name(to), names.join(", "))
                })
                .collect();
            edges.join("; ")
        })
        .collect()
}

/// Modules of a crate: their paths by file, their files by path, and what each file re-exports under a name.
struct Modules {
    paths: Vec<Vec<String>>,
    files: HashMap<Vec<String>, usize>,
    exports: HashMap<(usize, String), Vec<String>>,
}

/// Returns the imports between the files of a crate.
fn graph(sources: &[(PathBuf, String)]) -> Graph {
    let all: Vec<imports::Imports> = sources.iter().map(|(_, code)| imports::read(code)).collect();
    let mut modules = Modules { paths: Vec::new(), files: HashMap::new(), exports: HashMap::new() };
    for (at, (inside, _)) in sources.iter().enumerate() {
        let path = module_path(inside);
        modules.files.insert(path.clone(), at);
        modules.paths.push(path);
    }
    for (at, imports) in all.iter().enumerate() {
        let exported: Vec<_> =
            imports.exported.iter().filter_map(|path| modules.absolute(at, path)).collect();
        for path in exported {
            if let Some(name) = path.last() {
                modules.exports.insert((at, name.clone()), path);
            }
        }
    }
    let mut graph = Graph::new();
    for (from, imports) in all.iter().enumerate() {
        for path in imports.used.iter().filter_map(|path| modules.absolute(from, path)) {
            let (to, name) = modules.target(path);
            let (Some(to), Some(name)) = (to, name) else { continue };
            let parent = modules.paths[from].split_last().map_or(&[][..], |(_, parent)| parent);
            if to != from && modules.paths[to] != parent {
                graph.entry(from).or_default().entry(to).or_default().insert(name);
            }
        }
    }
    graph
}

/// Returns the path of the module in a file, relative to `src`.
fn module_path(inside: &Path) -> Vec<String> {
    let mut path: Vec<String> =
        inside.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        path.pop();
    }
    path
}

impl Modules {
    /// Converts a path as written in a file into one from the crate's root. `None` for paths into other crates.
    fn absolute(&self, file: usize, path: &str) -> Option<Vec<String>> {
        let mut parts: Vec<String> =
            path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let own = &self.paths[file];
        match parts.first()?.as_str() {
            "crate" => Some(parts.split_off(1)),
            "self" => Some([own.clone(), parts.split_off(1)].concat()),
            "super" => {
                let ups = parts.iter().take_while(|part| *part == "super").count();
                let base = own.get(..own.len().saturating_sub(ups))?;
                Some([base.to_vec(), parts.split_off(ups)].concat())
            }
            first => {
                let child = [own.clone(), vec![first.to_owned()]].concat();
                self.files.contains_key(&child).then(|| [own.clone(), parts].concat())
            }
        }
    }

    /// Returns the file to which a path leads through up to six re-exports, and the first name within it. `None` if the
    /// path leads to no file, or to a file itself.
    fn target(&self, mut path: Vec<String>) -> (Option<usize>, Option<String>) {
        for _ in 0..6 {
            let (file, rest) = self.resolve(&path);
            let Some((file, name)) = file.zip(rest.first()) else { return (file, None) };
            match self.exports.get(&(file, name.clone())) {
                Some(export) => path = [export.clone(), rest[1..].to_vec()].concat(),
                None => return (Some(file), Some(name.clone())),
            }
        }
        let (file, rest) = self.resolve(&path);
        (file, rest.first().cloned())
    }

    /// Returns the file of the longest module path that `path` begins with, and the rest.
    fn resolve<'p>(&self, path: &'p [String]) -> (Option<usize>, &'p [String]) {
        let found = (0..=path.len()).rev().find_map(|end| {
            let file = self.files.get(&path[..end])?;
            Some((*file, &path[end..]))
        });
        found.map_or((None, &[]), |(file, rest)| (Some(file), rest))
    }
}

/// Returns the strongly connected components of a graph with `count` nodes (Tarjan's algorithm).
fn components(count: usize, graph: &Graph) -> Vec<BTreeSet<usize>> {
    /// State of the search.
    struct Search<'g> {
        graph: &'g Graph,
        index: Vec<Option<usize>>,
        low: Vec<usize>,
        stack: Vec<usize>,
        next: usize,
        found: Vec<BTreeSet<usize>>,
    }
    impl Search<'_> {
        /// Visits a node that has no index yet, and then every node without an index that can be reached from it. Adds
        /// each component that is completed to `found`.
        fn visit(&mut self, node: usize) {
            self.index[node] = Some(self.next);
            self.low[node] = self.next;
            self.next += 1;
            self.stack.push(node);
            for to in self.graph.get(&node).into_iter().flat_map(BTreeMap::keys).copied() {
                match self.index[to] {
                    None => {
                        self.visit(to);
                        self.low[node] = self.low[node].min(self.low[to]);
                    }
                    Some(index) if self.stack.contains(&to) => {
                        self.low[node] = self.low[node].min(index);
                    }
                    Some(_) => {}
                }
            }
            if self.index[node] == Some(self.low[node]) {
                let at = self.stack.iter().rposition(|other| *other == node).unwrap_or_default();
                self.found.push(self.stack.split_off(at).into_iter().collect());
            }
        }
    }
    let mut search = Search {
        graph,
        index: vec![None; count],
        low: vec![0; count],
        stack: Vec::new(),
        next: 0,
        found: Vec::new(),
    };
    for node in 0..count {
        if search.index[node].is_none() {
            search.visit(node);
        }
    }
    search.found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> =
            files.iter().map(|(path, code)| (PathBuf::from(path), (*code).to_owned())).collect();
        cycles(&sources)
    }

    #[test]
    fn a_cycle_is_found_through_re_exports() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B;"),
            ("b/mod.rs", "mod inner; pub use inner::B;"),
            ("b/inner.rs", "use crate::c::C;"),
            ("c.rs", "fn f() { crate::a::A; }"),
        ];
        let found = found(&files);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("a.rs → b/inner.rs (B)") && found[0].contains("c.rs → a.rs (A)"),
            "{found:?}"
        );
    }

    #[test]
    fn a_child_may_use_its_parent() {
        let files = [("lib.rs", "mod a;"), ("a/mod.rs", "mod b; use b::B;"), ("a/b.rs", "use super::A;")];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn files_of_tests_do_not_count() {
        assert!(source::is_test(Path::new("a/tests.rs")) && source::is_test(Path::new("a/schema_tests.rs")));
        assert!(!source::is_test(Path::new("a/testing.rs")));
        assert_eq!(folder(Path::new("a/src/lib.rs")), Some(Path::new("a")));
        assert_eq!(folder(Path::new("a/src/b.rs")), None);
    }
}
