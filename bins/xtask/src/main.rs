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
mod environment;
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
mod usage;
mod wildcards;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next();
    let extra: Vec<String> = args.collect();
    let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
    if let Some(answer) = usage::answer(command.as_deref(), &extra) {
        return answer.print();
    }
    let outcome = match (command.as_deref(), extra.as_slice()) {
        (Some("test"), []) => steps::test(),
        (Some("test"), ["--only", names @ ..]) if !names.is_empty() => testing::run_named(names),
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
        (Some("mistakes"), [commit]) if !commit.starts_with('-') => mistakes::show(Some(commit)),
        (Some("registry"), []) => registry::prove(),
        (Some("purity"), []) => purity::check(),
        (Some("prose"), []) => prose::check(),
        (Some("deny"), []) => advisories::check(),
        (Some("cycles"), []) => cycles::check(),
        (Some("wildcards"), []) => wildcards::check(),
        (Some("surface"), []) => surface::run(surface::Update::Nothing),
        (Some("surface"), ["--write"]) => surface::run(surface::Update::Lists),
        (Some("surface"), ["--release"]) => surface::run(surface::Update::Release),
        (_, arguments) => return usage::refusal(command.as_deref(), arguments).print(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
