//! Checks of the book in examples/book: its links exist, its files are valid for their programs, its commands have only
//! options that the programs have, the pages about two machines are followed; and mdBook renders it.

use crate::process::{Outcome, root, step, target, tools_folder};
use crate::{family, links};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The references, with their paths in the rendered book.
const REFERENCES: &[(&str, &str)] = &[
    ("GLOSSARY.md", "reference/glossary.md"),
    ("MIGRATING.md", "reference/migrating.md"),
    ("bins/acme-dns01/CONFIG.md", "reference/acme-dns01.toml.md"),
    ("bins/acme-dns01/README.md", "reference/acme-dns01.md"),
    ("bins/edge-proxyd/CONFIG.md", "reference/edge.toml.md"),
    ("bins/edge-proxyd/REFERENCE.md", "reference/edge-proxyd.md"),
    ("bins/packaging/nix/README.md", "reference/nixos.md"),
    ("bins/pg-ensure/MANIFEST.md", "reference/pg-ensure.toml.md"),
    ("bins/pg-hba/POLICY.md", "reference/hba.toml.md"),
    ("bins/smtp-config/SETTINGS.md", "reference/mailer.toml.md"),
];

/// Files that a page may contain, with the commands that validate them. `FILE` stands for the file.
const FILES: &[(&str, &str, &[&str])] = &[
    ("acme-dns01.toml", "acme-dns01", &["simulate", "--config", "FILE"]),
    ("databases.toml", "pg-ensure", &["check", "FILE", "--offline"]),
    ("edge.toml", "edge-proxyd", &["check", "--no-files", "--config", "FILE"]),
    ("hba.toml", "pg-hba", &["render", "--policy", "FILE"]),
    ("mailer.toml", "smtp-config", &["render", "--settings", "FILE"]),
];

/// Pages that `cargo xtask boot` does not follow, since they need two machines. Their files are written and their
/// commands run here, after a file of the workspace, if given, which the page describes and its commands read.
const FOLLOWED: &[(&str, Option<(&str, &str)>)] =
    &[("grpc.md", None), ("two-edges.md", Some(("examples/hosts/two-edges/edge.toml", "edge.toml")))];

/// Script that runs the commands of a page: `/etc` is empty except for the folder of the edge, and `sudo` has no effect.
const FOLLOW: &str = "mount -t tmpfs tmpfs /etc\nmkdir /etc/edge-proxyd\nsudo() { \"$@\"; }\nset -x\n";

/// Returns the folder of the book.
fn folder() -> PathBuf {
    root().join("examples/book")
}

/// Reads a page by its file name.
///
/// # Errors
/// Returns a description if it cannot be read.
pub(crate) fn page(name: &str) -> Result<String, String> {
    let path = folder().join(name);
    std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))
}

/// A fenced block: the text after its fence, the number of its first line, and its content.
pub(crate) struct Block {
    pub(crate) info: String,
    line: usize,
    pub(crate) text: String,
}

/// Checks the book with the programs of the debug build, and the links of the documents of the workspace and its
/// packages.
///
/// # Errors
/// Returns all faults.
pub(crate) fn check() -> Outcome {
    let work = target().join("book-test");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).map_err(|why| format!("{}: {why}", work.display()))?;
    let mut faults = Vec::new();
    let documents = [links::documents(&root())?, links::documents(&folder())?, links::of_packages(&root())?];
    for document in documents.concat() {
        faults.extend(links::broken(&document)?);
    }
    faults.extend(check_summary()?);
    faults.extend(family::faults(&page("references.md")?)?);
    let (mut files, mut commands) = (0, 0);
    let mut help = BTreeMap::new();
    for page in links::documents(&folder())? {
        let text = std::fs::read_to_string(&page).map_err(|why| format!("{}: {why}", page.display()))?;
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        faults.extend(unnamed_files(&text).into_iter().map(|why| format!("{name}:{why}")));
        for block in blocks(&text) {
            let at = format!("{name}:{}", block.line);
            let file = block.info.split_whitespace().nth(1).unwrap_or_default();
            if let Some((file, program, args)) = FILES.iter().find(|(known, ..)| *known == file) {
                files += 1;
                faults.extend(
                    validate(&work, file, program, args, &block.text).map(|why| format!("{at}: {why}")),
                );
            } else if block.info == "sh" {
                for line in block.text.lines() {
                    let Some(words) = command(line) else { continue };
                    commands += 1;
                    faults
                        .extend(command_fault(&words, &mut help)?.map(|why| format!("{at}: {line}: {why}")));
                }
            }
        }
    }
    for (page, given) in FOLLOWED {
        faults.extend(follow(&work.join("followed"), page, *given)?);
    }
    let _ = std::fs::remove_dir_all(&work);
    if files < 5 || commands < 20 {
        faults.push(format!("the book has {files} files and {commands} commands only: is it read?"));
    }
    if !faults.is_empty() {
        return Err(format!("book:\n{}", faults.join("\n")));
    }
    println!("xtask: book: {files} files are valid, {commands} commands have known options, all links exist");
    Ok(())
}

/// Writes the files of a page into the new folder `place` and runs its commands there, in order, with the debug build,
/// in a mount namespace of its own. `given` is a file of the workspace and the name that it has there. Returns `None` if
/// all commands end with 0, otherwise the commands that ran and their output.
///
/// # Errors
/// Returns a description if the page or the file cannot be read, the folder cannot be written, or `unshare` cannot be
/// run.
fn follow(place: &Path, name: &str, given: Option<(&str, &str)>) -> Result<Option<String>, String> {
    let said = |why: std::io::Error| format!("{}: {why}", place.display());
    let _ = std::fs::remove_dir_all(place);
    std::fs::create_dir_all(place).map_err(said)?;
    if let Some((file, to)) = given {
        std::fs::copy(root().join(file), place.join(to)).map_err(|why| format!("{file}: {why}"))?;
    }
    let mut script = FOLLOW.to_owned();
    for (number, block) in blocks(&page(name)?).into_iter().enumerate() {
        match (block.info.as_str(), block.info.split_once(' ')) {
            ("sh", _) => script.push_str(&block.text),
            (_, Some((_, file))) => {
                let held = format!("{number}-{file}");
                std::fs::write(place.join(&held), &block.text).map_err(said)?;
                script.push_str(&format!("cp {held} {file}\n"));
            }
            _ => {}
        }
    }
    let programs = std::path::absolute(target().join("debug")).map_err(|why| why.to_string())?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-euc", &script]).current_dir(place);
    let output = command.env("PATH", format!("{}:{path}", programs.display())).output();
    let output = output.map_err(|why| format!("unshare: {why}"))?;
    let said = [output.stdout, output.stderr].concat();
    let fault = || format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&said).trim_end());
    Ok((!output.status.success()).then(fault))
}

/// Checks the book, and renders it into target/book/html.
///
/// # Errors
/// Returns all faults, or a page that was not rendered.
pub(crate) fn render() -> Outcome {
    check()?;
    let work = target().join("book");
    let _ = std::fs::remove_dir_all(&work);
    let source = work.join("src");
    let copy = |from: &Path, to: &Path, links: &[(&str, String)]| -> Outcome {
        let mut text = std::fs::read_to_string(from).map_err(|why| format!("{}: {why}", from.display()))?;
        for (old, new) in links {
            text = text.replace(&format!("]({old})"), &format!("]({new})"));
            text = text.replace(&format!("]({old}#"), &format!("]({new}#"));
        }
        let said = |why: std::io::Error| format!("{}: {why}", to.display());
        std::fs::create_dir_all(to.parent().unwrap_or(&work)).map_err(said)?;
        std::fs::write(to, text).map_err(said)
    };
    let moved: Vec<(String, String)> =
        REFERENCES.iter().map(|(from, to)| (format!("../../{from}"), (*to).to_owned())).collect();
    let moved: Vec<(&str, String)> = moved.iter().map(|(from, to)| (from.as_str(), to.clone())).collect();
    for page in links::documents(&folder())? {
        copy(&page, &source.join(page.file_name().unwrap_or_default()), &moved)?;
    }
    for (from, to) in REFERENCES {
        copy(&root().join(from), &source.join(to), &[])?;
    }
    copy(&folder().join("dashboard.json"), &source.join("dashboard.json"), &[])?;
    copy(&folder().join("book.toml"), &work.join("book.toml"), &[])?;
    let mdbook = tools_folder().join("bin/mdbook");
    if !mdbook.exists() {
        return Err(format!("{} is missing: cargo xtask tools", mdbook.display()));
    }
    let html = work.join("html");
    step("book", Command::new(mdbook).args(["build", "--dest-dir"]).arg(&html).arg(&work))?;
    for page in links::documents(&folder())? {
        let page = html.join(page.file_name().unwrap_or_default()).with_extension("html");
        let is_listed = page.file_stem().is_some_and(|name| name != "SUMMARY" && name != "README");
        if is_listed && !page.exists() {
            return Err(format!("book: {} was not rendered", page.display()));
        }
    }
    Ok(())
}

/// Returns a message for each page that is missing in SUMMARY.md.
///
/// # Errors
/// Returns a description if the folder or the file cannot be read.
fn check_summary() -> Result<Vec<String>, String> {
    let summary = folder().join("SUMMARY.md");
    let text = std::fs::read_to_string(&summary).map_err(|why| format!("{}: {why}", summary.display()))?;
    let listed = links::relative(&text);
    let names = links::documents(&folder())?
        .into_iter()
        .filter_map(|page| Some(page.file_name()?.to_str()?.to_owned()));
    let missing = names.filter(|name| name != "SUMMARY.md" && !listed.contains(name));
    Ok(missing.map(|name| format!("SUMMARY.md: {name} is not in it")).collect())
}

/// Returns the fenced blocks of a page, in order. A block that is not closed is omitted.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(info), None) => {
                open = Some(Block { info: info.trim().to_owned(), line: number + 1, text: String::new() });
            }
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    found
}

/// Returns a message for each file whose name is not in the text before it, since the word after the fence, which names
/// it for these checks, is not shown to a reader.
fn unnamed_files(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut faults = Vec::new();
    let mut end = 0;
    for block in blocks(text) {
        let fence = block.line - 1;
        let file = block.info.split_whitespace().nth(1);
        let is_named = |file: &str| lines[end..fence].iter().any(|line| line.contains(&format!("`{file}`")));
        if let Some(file) = file.filter(|file| !is_named(file)) {
            faults.push(format!("{}: the text before the file does not have its name, `{file}`", block.line));
        }
        end = block.line + block.text.lines().count();
    }
    faults
}

/// Writes an example to a file in the folder `work`, with the paths of its secrets replaced by that of a file there,
/// and has the program validate it. Returns `None` if the example is valid, otherwise the program's output, or the
/// error of writing the file or running the program.
fn validate(work: &Path, file: &str, program: &str, args: &[&str], text: &str) -> Option<String> {
    // Secrets of an example do not exist on this machine.
    let secret = work.join("secret");
    let path = work.join(file);
    let text = text.replace("/etc/pg-ensure/forgejo-db", &secret.display().to_string());
    let text = text.replace("/etc/forgejo/smtp-password", &secret.display().to_string());
    let written = std::fs::write(&secret, "correct horse\n").and_then(|()| std::fs::write(&path, text));
    let written = written.and_then(|()| {
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))
    });
    if let Err(why) = written {
        return Some(format!("{}: {why}", path.display()));
    }
    let args = args.iter().map(|arg| if *arg == "FILE" { path.as_os_str() } else { arg.as_ref() });
    match Command::new(target().join("debug").join(program)).args(args).output() {
        Err(why) => Some(format!("{program}: {why}: build the programs first")),
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = [output.stderr, output.stdout].concat();
            Some(format!("{file}: {}", String::from_utf8_lossy(&said).trim_end()))
        }
    }
}

/// Returns the words of a command of one of the programs, without `sudo`, redirections and pipes. `None` if it is
/// another program.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("sudo ");
    // Of the account that runs it only the name follows.
    let line = line.strip_prefix("-u ").and_then(|rest| rest.split_once(' ')).map_or(line, |(_, rest)| rest);
    let line = line.split(" > ").next()?.split(" | ").next()?;
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    family::PROGRAMS.contains(&words.first()?.as_str()).then_some(words)
}

/// Returns the fault of a command: a subcommand or an option that the program does not have. `None` if there is none.
/// `help` caches the output of `--help`.
///
/// # Errors
/// Returns an error if the program does not exist.
fn command_fault(
    words: &[String],
    help: &mut BTreeMap<Vec<String>, String>,
) -> Result<Option<String>, String> {
    let program = &words[0];
    let sub: Vec<String> =
        words[1..].iter().take_while(|word| !word.starts_with('-')).take(1).cloned().collect();
    let mut key = vec![program.clone()];
    key.extend(sub);
    if !help.contains_key(&key) {
        let output =
            Command::new(target().join("debug").join(program)).args(&key[1..]).arg("--help").output();
        let output = output.map_err(|why| format!("{program}: {why}: build the programs first"))?;
        if !output.status.success() {
            return Ok(Some(format!("{} is not a command", key.join(" "))));
        }
        help.insert(key.clone(), String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = &help[&key];
    let has = |option: &str| {
        text.split(|c: char| c.is_whitespace() || "[]<>=,".contains(c)).any(|word| word == option)
    };
    let options = words.iter().filter(|word| word.starts_with("--"));
    let options = options.map(|word| word.split('=').next().unwrap_or(word));
    Ok(options.into_iter().find(|option| !has(option)).map(|option| format!("{option} is not an option")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_in_the_text_before_them() {
        let text = "`a.toml`:\n```toml a.toml\nb\n```\nAnd\n```toml c.toml\n```\n```sh\nls\n```\n";
        let faults = unnamed_files(text);
        assert_eq!(faults, ["6: the text before the file does not have its name, `c.toml`"]);
        assert_eq!(unnamed_files(&text.replace("And", "And `c.toml`")), Vec::<String>::new());
    }

    #[test]
    fn blocks_and_commands_are_found() {
        let found = blocks(
            "a\n```toml edge.toml\nb = 1\n```\n   ```sh\nsudo -u acme edge-proxyd check --config x > y\nls\n```\n",
        );
        assert_eq!(
            (found[0].info.as_str(), found[0].text.as_str(), found[0].line),
            ("toml edge.toml", "b = 1\n", 2)
        );
        let words: Vec<_> = found[1].text.lines().filter_map(command).collect();
        assert_eq!(words, [["edge-proxyd", "check", "--config", "x"]]);
    }
}
