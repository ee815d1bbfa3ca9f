//! The project's own commands. `cargo xtask test` runs everything that a change must pass, also on a newly installed
//! machine.

mod advisories;
mod applications;
mod bench;
mod book;
mod boot;
mod clients;
mod conformance;
mod cycles;
mod dist;
mod family;
mod flake;
mod full;
mod fuzz;
mod go;
mod homelab;
mod import_corpus;
mod instructions;
mod links;
mod minutes;
mod mistakes;
mod network;
mod nix;
mod package;
mod postgres;
mod postgres_packages;
mod process;
mod prose;
mod purity;
mod registry;
mod released;
mod screenshots;
mod soak;
mod source;
mod steps;
mod surface;
mod testing;
mod tools;
mod units;
mod wildcards;

use std::process::ExitCode;

/// Help text of the program.
const USAGE: &str = "\
usage: cargo xtask COMMAND

  test          install what the tests need, then run every check
  full [STEP…]  run the long form of everything, or the named steps, and write the report into bins/xtask/full.md; takes hours
  applications  drive real applications behind an edge and a node, each by its own client
  homelab [-- --two-edges]
                build the programs and run the scenario of the example hosts in network namespaces of this machine, or that
                of two edges that share state; ends with a report
  package       build the programs for release, and a Debian package of each; with --static linked with musl, so that they
                run on any Linux; with --prove package the debug build, install it into a separate root, verify it there,
                and purge it
  boot [--full] [--book|--previous FOLDER]
                build the programs, and boot a Debian machine with their packages under systemd, which lives through late
                interfaces and secrets, takeovers, updates and removals; with --full also through power losses and more. --book
                follows the pages of examples/book. --previous FOLDER changes to the Debian packages of an earlier version and
                back. Needs root
  boot --built [PART|--full|--book [PART]|--previous FOLDER]
                the same with the programs and the root that are there; PART takes the machine only through the steps of the
                long form that have this in their names, with --book through the first day's pages and those with this name
  dist [--debug|--programs FOLDER]
                build the programs statically for release and write what people install from: an archive, Debian packages,
                an OCI image, a bill of materials (CycloneDX) and checksums, in target/dist; each is installed into an
                empty root and run there. --debug packs the debug build, --programs those of a folder
  nix [--lib NIXPKGS/lib]
                build the programs and check the NixOS modules by evaluating whole hosts, with nixpkgs' own lib if given
  book [--check]
                check the links, files and commands of examples/book with the debug build, and render it with mdBook into
                target/book/html; --check renders nothing
  flake         only check that flake.nix has the programs, with a stand-in for nixpkgs
  fuzz [--minutes N] [--at-once] [TARGET…]
                run every fuzz target, or these, for N minutes each (1), one after another or concurrently
  network [-- --quick|--only ROW]
                measure edge-proxyd beside nginx and Caddy over links with delay, loss, queues and changes of address; without
                arguments everything, written into edge-proxy/NETWORK.md. Needs root
  conformance [--quick]
                run third-party conformance suites against edge-proxyd and nginx; writes edge-proxy/CONFORMANCE.md. --quick runs
                what the tests run, with the debug build
                (the former name, judges, still works)
  screenshots [--again|--status]
                render the pictures in the documentation with Chromium: from a quick scenario and an edge in good health, from the
                pages of the last run, or that of the status page alone
  soak [--minutes N]
                run the soak test for N minutes (10)
  import-corpus DIR [--domain NAME] [--root DIR] [--prove]
                count the nginx configurations below a folder that edge-proxyd imports as sites, and with --prove those that
                answer as nginx does
  import-random [N]
                prove the import of N random nginx configurations (2000)
  tools         only install what the tests need
  bench [ARGS]  measure edge-proxyd beside nginx, HAProxy, Caddy and pingora; without arguments everything, written
                into edge-proxy/BENCHMARKS.md. --only WORKLOAD, --contender NAME, --rounds N, --seconds N
  instructions [--record]
                count the instructions of the hot paths against bins/hot-paths/instructions.txt, or record them there
  mistakes [COMMIT]
                run the tables of realistic mistakes, count them, and show 17 of them with their whole answers, drawn by the
                hash of a commit (HEAD)
  registry      only build the published packages, and check that they are complete
  purity        only check that the pure cores have no runtime in their dependency tree, and read no clock
  prose         only check documentation and messages: relative clauses, one- and two-word docs, ambiguous type names
  deny          only check dependencies with cargo-deny; ADVISORY_DB is the folder of a copy of the database of advisories, for
                where that cannot be reached
  cycles        only check that the files of each crate do not import each other in cycles
  wildcards     only check that no `_` arm hides a new variant of the enums that a change must consider
  surface       only compare the public items of the libraries with the lists in the tree, and with the last release;
                --write writes the lists, --release also records them as those of a release of the current versions
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next();
    let extra: Vec<String> = args.collect();
    let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
    let outcome = match (command.as_deref(), extra.as_slice()) {
        (Some("test"), []) => steps::test(),
        (Some("full"), named) => full::run(named),
        (Some("applications"), ["--", arguments @ ..] | arguments) => {
            tools::install().and_then(|()| applications::all(arguments))
        }
        (Some("network"), ["--", arguments @ ..] | arguments) => {
            tools::install().and_then(|()| network::all(arguments))
        }
        (Some("homelab"), ["--", arguments @ ..] | arguments) => homelab::whole(arguments),
        (Some("package"), []) => package::release(),
        (Some("package"), ["--static"]) => package::release_static(),
        (Some("package"), ["--prove"]) => package::prove(),
        (Some("boot"), arguments) if boot::Form::parse(arguments).is_some() => {
            boot::Form::parse(arguments).map_or(Ok(()), boot::run)
        }
        (Some("dist"), []) => dist::release(),
        (Some("dist"), ["--debug"]) => dist::debug(),
        (Some("dist"), ["--programs", folder]) => dist::pack_built(std::path::Path::new(folder)),
        // The proof of the image starts this program again in a network namespace.
        (Some("image-inside"), []) => dist::within(),
        (Some("book"), []) => book::render(),
        (Some("book"), ["--check"]) => book::check(),
        (Some("flake"), []) => flake::prove(),
        (Some("nix"), []) => nix::whole(None),
        (Some("nix"), ["--lib", lib]) => nix::whole(Some(lib)),
        (Some("fuzz"), arguments) => fuzz::Session::parse(arguments).and_then(|session| fuzz::run(&session)),
        (Some("soak"), []) => soak::run(10),
        (Some("soak"), ["--minutes", minutes]) => minutes::parse(minutes).and_then(soak::run),
        (Some("screenshots"), []) => screenshots::take(true),
        (Some("screenshots"), ["--again"]) => screenshots::take(false),
        (Some("screenshots"), ["--status"]) => screenshots::of_status(),
        (Some("conformance"), ["--quick"]) => conformance::quick(),
        (Some("conformance"), []) => tools::install().and_then(|()| conformance::all()),
        (Some("judges"), []) => {
            eprintln!("xtask: judges is deprecated: use conformance");
            tools::install().and_then(|()| conformance::all())
        }
        (Some("import-corpus"), arguments) => import_corpus::count(arguments),
        (Some("import-random"), []) => import_corpus::random("2000"),
        (Some("import-random"), [cases]) => import_corpus::random(cases),
        (Some("tools"), []) => tools::install(),
        (Some("bench"), extra) => bench::run(extra),
        (Some("instructions"), extra) => instructions::run(extra),
        (Some("mistakes"), []) => mistakes::show(None),
        (Some("mistakes"), [commit]) => mistakes::show(Some(commit)),
        (Some("registry"), []) => registry::prove(),
        (Some("purity"), []) => purity::check(),
        (Some("prose"), []) => prose::check(),
        (Some("deny"), []) => advisories::check(),
        (Some("cycles"), []) => cycles::check(),
        (Some("wildcards"), []) => wildcards::check(),
        (Some("surface"), []) => surface::run(surface::Update::Nothing),
        (Some("surface"), ["--write"]) => surface::run(surface::Update::Lists),
        (Some("surface"), ["--release"]) => surface::run(surface::Update::Release),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
