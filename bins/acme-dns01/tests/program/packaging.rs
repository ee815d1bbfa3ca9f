//! What is packaged: units that expose little and say what the program takes; a NixOS module whose file it takes.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

#[test]
fn the_units_expose_little_and_call_what_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    for unit in ["acme-dns01.service", "acme-dns01-once.service"] {
        let output = Command::new("/usr/bin/systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager", "--threshold=20"])
            .arg(packaged(unit))
            .output()
            .expect("systemd-analyze is there; cargo xtask tools installs systemd");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{unit} is more exposed than 2.0 of 10:\n{said}");
        assert!(said.contains("Overall exposure level"), "{said}");
        // Each command, with a configuration that has nothing to do.
        let text = std::fs::read_to_string(packaged(unit)).expect("a unit");
        let config = folder.path().join("acme.toml");
        let store = folder.path().join("acme");
        std::fs::write(&config, format!("folder = \"{}\"\n", store.display())).expect("a file");
        let commands = text.lines().filter_map(|line| {
            let (key, command) = line.split_once("=/usr/bin/acme-dns01 ")?;
            (key.starts_with("ExecStart") && !command.ends_with(" run")).then_some(command)
        });
        let commands: Vec<String> = commands
            .map(|line| line.replace("/etc/acme-dns01/acme-dns01.toml", &config.display().to_string()))
            .collect();
        // The daemon reads the file itself.
        assert_eq!(commands.len(), usize::from(unit == "acme-dns01-once.service"), "{unit}");
        for command in commands {
            let status = Command::new(env!("CARGO_BIN_EXE_acme-dns01"))
                .args(command.split(' '))
                .status()
                .expect("the program was built");
            assert!(status.success(), "{unit}: {command}");
        }
    }
    let timer = Command::new("/usr/bin/systemd-analyze").args(["calendar", "00/6:00"]).output();
    assert!(timer.expect("systemd-analyze").status.success());
}

/// Enough of nixpkgs to evaluate the module: types are checked, defaults are taken, an option that there is not is refused.
const NIX: &str = r##"
let
  has = what: test: x: if test x then x else throw "no ${what}: ${builtins.toJSON x}";
  fill = name: module: given:
    let
      made = if builtins.isFunction module then module { inherit name; } else module;
      unknown = builtins.filter (key: !(made.options ? ${key})) (builtins.attrNames given);
    in
    if unknown != [ ] then throw "no such option: ${builtins.head unknown}"
    else builtins.mapAttrs (key: option: option.type name (given.${key} or option.default)) made.options;
  types = {
    str = _: has "string" builtins.isString; bool = _: has "bool" builtins.isBool; int = _: has "int" builtins.isInt;
    package = _: x: x;
    nullOr = type: name: x: if x == null then null else type name x;
    listOf = type: name: map (type name);
    attrsOf = type: _: builtins.mapAttrs (name: type name);
    submodule = module: name: fill name module;
  };
  lib = {
    inherit types;
    mkOption = option: option; literalExpression = x: x; mkIf = condition: x: if condition then x else { };
    filterAttrs = keep: set: builtins.listToAttrs (builtins.concatMap
      (name: if keep name set.${name} then [ { inherit name; value = set.${name}; } ] else [ ]) (builtins.attrNames set));
    optionals = condition: list: if condition then list else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    concatMap = builtins.concatMap;
    unique = builtins.foldl' (seen: x: if builtins.elem x seen then seen else seen ++ [ x ]) [ ];
    getExe' = package: name: "${package}/bin/${name}";
  };
  pkgs = {
    acme-dns01 = "/x"; systemd = "/s";
    formats.toml = _: { type = _: x: x; generate = _: builtins.toJSON; };
  };
  module = import MODULE { config.security.acmeDns01 = cfg; inherit lib pkgs; };
  cfg = fill "acmeDns01" { options = module.options.security.acmeDns01; } {
    acceptTerms = true;
    defaults = {
      email = "admin@example.org"; dnsProvider = "cloudflare"; reloadServices = [ "nginx.service" ];
      credentialFiles.CLOUDFLARE_DNS_API_TOKEN_FILE = "FOLDER/token";
    };
    credentials.tsig = "FOLDER/tsig";
    certs."example.org" = { extraDomainNames = [ "*.example.org" ]; check = [ "127.0.0.1:443" ]; validMinDays = 30; };
    certs.mail = {
      domain = "mail.example.org"; dnsProvider = "own"; keyType = "rsa2048"; server = "https://ca.example/dir";
      reloadServices = [ "postfix.service" ]; postRun = "true"; profile = "shortlived";
    };
    settings.provider.own = { kind = "rfc2136"; server = "192.0.2.1:53"; key_name = "k"; key = "credential:tsig"; };
  };
  service = module.config.systemd.services.acme-dns01.serviceConfig;
in
{
  start = service.ExecStart;
  credentials = service.LoadCredential;
  service = service;
  asserted = builtins.all (entry: entry.assertion) module.config.assertions;
  polkit = module.config.security.polkit.extraConfig;
  directory = cfg.certs.mail.directory;
  refused = (builtins.tryEval (builtins.deepSeq
    (fill "acmeDns01" { options = module.options.security.acmeDns01; } { certs.x.domian = "x.example.org"; }) 1)).success;
}
"##;

#[test]
fn the_nixos_module_makes_a_file_that_the_program_takes() {
    let nix = "/usr/bin/nix-instantiate";
    assert!(Path::new(nix).exists(), "{nix} is not there: run `cargo xtask tools` first");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let expression = NIX
        .replace("MODULE", &packaged("module.nix").display().to_string())
        .replace("FOLDER", &folder.path().display().to_string());
    std::fs::write(at("eval.nix"), expression).expect("a file");
    let mut command = Command::new(nix);
    command.args(["--eval", "--strict", "--json"]).arg(at("eval.nix"));
    // Nothing is built, and nothing outside this folder is written.
    for (variable, place) in
        [("NIX_STORE_DIR", "store"), ("NIX_STATE_DIR", "state"), ("NIX_LOG_DIR", "log"), ("HOME", "home")]
    {
        command.env(variable, at(place));
    }
    let output = command.output().expect("nix-instantiate runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&value["asserted"], &value["refused"]), (&true.into(), &false.into()));
    assert_eq!(value["directory"], "/var/lib/acme/mail");
    let polkit = value["polkit"].as_str().expect("a rule");
    assert!(polkit.contains(r#"["nginx.service","postfix.service"].indexOf"#), "{polkit}");

    // The file that it makes, as TOML, with its credentials.
    let start = value["start"].as_str().expect("a command");
    let file = start.strip_prefix("/x/bin/acme-dns01 --config ").and_then(|rest| rest.strip_suffix(" run"));
    let mut file: Value = serde_json::from_str(file.expect("a file")).expect("JSON");
    file["folder"] = at("acme").display().to_string().into();
    let table: toml::Table = serde_json::from_value(file).expect("a table");
    std::fs::write(at("acme.toml"), toml::to_string(&table).expect("TOML")).expect("a file");
    for credential in value["credentials"].as_array().expect("credentials") {
        let (name, path) =
            credential.as_str().and_then(|text| text.split_once(':')).expect("a name and a file");
        assert!(
            path == at("token").to_str().unwrap_or_default()
                || path == at("tsig").to_str().unwrap_or_default()
        );
        std::fs::write(at(name), "c2VjcmV0\n").expect("a file");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_acme-dns01"))
        .args(["--json", "list", "--config"])
        .arg(at("acme.toml"))
        .env("CREDENTIALS_DIRECTORY", folder.path())
        .output()
        .expect("the program was built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let listed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&listed[0]["name"], &listed[1]["name"]), (&"example.org".into(), &"mail".into()));
    assert_eq!(listed[0]["names"], serde_json::json!(["*.example.org", "example.org"]));

    // It is hardened as the unit is.
    let unit = std::fs::read_to_string(packaged("acme-dns01.service")).expect("a unit");
    for line in unit.lines().filter(|line| line.starts_with("Protect") || line.starts_with("Restrict")) {
        let key = line.split_once('=').expect("a line").0;
        assert!(value["service"].get(key).is_some(), "{key} is missing in the module");
    }
}
