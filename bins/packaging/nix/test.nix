# What `cargo xtask nix` asks: whole hosts evaluated, and a line for each thing that has to be looked at outside.
#
#   unit FILE      a unit that systemd has to find little exposed
#   run FILE       a script that has to end well
#   host NAME N    that N units of this host were looked at
#
# Anything that does not hold ends the evaluation with words. `programs` is a folder whose `bin` has the programs, `folder` one
# that scripts may write into, `nixpkgsLib` nixpkgs' lib or null for the part of it beside this.
{ programs, folder, nixpkgsLib ? null }:
let
  lib = if nixpkgsLib == null then import ./lib.nix else import nixpkgsLib;
  inherit (lib) mkOption types concatMap mapAttrsToList;
  ensure = holds: words: if holds then true else throw words;

  # TOML of a value: each key of the top with what is below it in a line.
  toml = value:
    let
      inline = value:
        if builtins.isAttrs value then
          "{ ${builtins.concatStringsSep ", " (mapAttrsToList (name: value: "${builtins.toJSON name} = ${inline value}") value)} }"
        else if builtins.isList value then "[${builtins.concatStringsSep ", " (map inline value)}]"
        else builtins.toJSON value;
    in
    builtins.concatStringsSep "" (mapAttrsToList (name: value: "${builtins.toJSON name} = ${inline value}\n") value);

  # A file, which also remembers what it was made of.
  made = render: name: value: {
    type = "derivation";
    inherit name value;
    outPath = builtins.toFile name (render value);
  };
  package = version: { type = "derivation"; name = "programs-${version}"; inherit version; outPath = programs; };
  pkgs = {
    acme-dns01 = package "0.1.0";
    edge-proxyd = package "0.1.0";
    pg-ensure = package "0.1.0";
    pg-hba = package "0.1.0";
    smtp-config = package "0.1.0";
    upgrade-pg-cluster = package "0.1.0";
    postgresql_15 = package "15.18";
    postgresql_17 = package "17.6";
    postgresql_18 = package "18.1";
    systemd = package "257";
    coreutils = package "9.7";
    writeText = made (text: text);
    # What would be built is run below.
    runCommand = name: _: script: { type = "derivation"; inherit name script; outPath = "/nix/store/${name}"; };
    # The file itself, with what the build does beforehand.
    runCommandLocal = _: given: script: given.file // { inherit script; };
    formats.toml = _: { type = types.attrsOf types.anything; generate = made toml; };
    formats.json = _: { type = types.attrsOf types.anything; generate = made builtins.toJSON; };
  };

  # What NixOS declares and these modules set or read.
  nixos = { config, ... }: {
    # As in nixpkgs: the text has rules of its own, and is the file of the server.
    config.services.postgresql = {
      authentication = lib.mkMerge [
        (lib.mkOrder 500 "# Generated file; do not edit!")
        (lib.mkAfter "local all postgres peer map=postgres\nlocal all all peer\nhost all all 127.0.0.1/32 md5\nhost all all ::1/128 md5")
      ];
      settings.hba_file = "${pkgs.writeText "pg_hba.conf" config.services.postgresql.authentication}";
    };
    options = {
      assertions = mkOption { type = types.listOf types.anything; default = [ ]; };
      age.secrets = mkOption {
        type = types.attrsOf (types.submodule ({ name, ... }: {
          options.file = mkOption { type = types.path; };
          options.path = mkOption { type = types.str; default = "/run/agenix/${name}"; };
        }));
        default = { };
      };
      environment.etc = mkOption { type = types.attrsOf types.anything; default = { }; };
      environment.systemPackages = mkOption { type = types.listOf types.package; default = [ ]; };
      networking.firewall.allowedTCPPorts = mkOption { type = types.listOf types.port; default = [ ]; };
      networking.firewall.allowedUDPPorts = mkOption { type = types.listOf types.port; default = [ ]; };
      security.polkit.enable = mkOption { type = types.bool; default = false; };
      security.polkit.extraConfig = mkOption { type = types.lines; default = ""; };
      services.forgejo.enable = mkOption { type = types.bool; default = false; };
      services.forgejo.customDir = mkOption { type = types.str; default = "${folder}/forgejo"; };
      services.forgejo.package = mkOption { type = types.package; default = package "13.0.2"; };
      services.forgejo.database = lib.genAttrs [ "type" "socket" "name" "user" ]
        (name: mkOption { type = types.str; default = "forgejo"; })
      // { createDatabase = mkOption { type = types.bool; default = true; }; };
      services.forgejo.settings = mkOption { type = types.attrsOf types.anything; default = { }; };
      services.headscale = {
        enable = mkOption { type = types.bool; default = false; };
        address = mkOption { type = types.str; default = "127.0.0.1"; };
        port = mkOption { type = types.port; default = 8080; };
        settings = mkOption { type = types.attrsOf types.anything; default = { }; };
      };
      services.postgresql.enable = mkOption { type = types.bool; default = false; };
      services.postgresql.dataDir = mkOption { type = types.str; default = "/var/lib/postgresql/18"; };
      services.postgresql.package = mkOption { type = types.package; };
      services.postgresql.authentication = mkOption { type = types.lines; default = ""; };
      services.postgresql.settings = mkOption { type = types.attrsOf types.anything; default = { }; };
      services.vaultwarden = {
        enable = mkOption { type = types.bool; default = false; };
        dbBackend = mkOption { type = types.enum [ "sqlite" "mysql" "postgresql" ]; default = "sqlite"; };
        config = mkOption { type = types.attrsOf (types.oneOf [ types.bool types.int types.str ]); default = { }; };
        environmentFile = mkOption { type = types.nullOr types.path; default = null; };
      };
      systemd.services = mkOption { type = types.attrsOf (types.submodule service); default = { }; };
      systemd.tmpfiles.rules = mkOption { type = types.listOf types.str; default = [ ]; };
      users.groups = mkOption { type = types.attrsOf types.anything; default = { }; };
      users.users = mkOption { type = types.attrsOf types.anything; default = { }; };
    };
  };
  service.options = {
    description = mkOption { type = types.str; default = ""; };
    preStart = mkOption { type = types.lines; default = ""; };
    path = mkOption { type = types.listOf types.package; default = [ ]; };
    serviceConfig = mkOption { type = types.attrsOf types.anything; default = { }; };
    unitConfig = mkOption { type = types.attrsOf types.anything; default = { }; };
    startLimitIntervalSec = mkOption { type = types.nullOr types.int; default = null; };
  } // lib.genAttrs
    [ "after" "before" "documentation" "partOf" "requiredBy" "requires" "wantedBy" "wants" ]
    (_: mkOption { type = types.listOf types.str; default = [ ]; })
  // lib.genAttrs [ "reloadTriggers" "restartTriggers" ] (_: mkOption { type = types.listOf types.anything; default = [ ]; });

  evaluated = modules: (lib.evalModules { modules = [ nixos ./default.nix ] ++ modules; specialArgs = { inherit pkgs; }; }).config;
  complaints = host: map (entry: entry.message) (builtins.filter (entry: !entry.assertion) host.assertions);
  sound = name: host:
    ensure (complaints host == [ ]) "${name}: ${builtins.concatStringsSep "; " (complaints host)}";

  # A unit as NixOS writes it.
  unit = name: service:
    let
      text = value: if value == true then "true" else if value == false then "false" else toString value;
      lines = key: value: if builtins.isList value then map (value: "${key}=${text value}") value else [ "${key}=${text value}" ];
      section = name: set: [ "[${name}]" ] ++ builtins.concatLists (mapAttrsToList lines set);
      all = section "Unit"
        ({ Description = service.description; After = service.after; Documentation = service.documentation; }
          // (if service.startLimitIntervalSec == null then { } else { StartLimitIntervalSec = service.startLimitIntervalSec; })
          // service.unitConfig)
      ++ section "Service" service.serviceConfig;
    in
    builtins.toFile "${name}.service" (builtins.concatStringsSep "\n" all + "\n");
  # Forgejo's own unit is NixOS's; what is added to it is run below.
  units = host: builtins.removeAttrs host.systemd.services [ "forgejo" ];
  run = name: text: "run ${builtins.toFile name ("set -eu\n" + text)}";
  lines = name: host:
    assert sound name host;
    mapAttrsToList (name: service: "unit ${unit name service}") (units host)
    ++ [ "host ${name} ${toString (builtins.length (builtins.attrNames (units host)))}" ];

  hosts = ../../../examples/hosts;
  read = file: builtins.fromTOML (builtins.readFile (hosts + "/${file}"));
  edgeFile = host: host.environment.etc."edge-proxyd/edge.toml".source;
  byName = list: builtins.listToAttrs (map (entry: { inherit (entry) name; value = entry; }) list);
  # Sites are an order in the program's file and a set in the module; the program chooses by name, not by order.
  meaning = file: file // { site = byName file.site; };
  same = what: left: right:
    ensure (left == right) "${what}: the module writes ${builtins.toJSON left}, the file says ${builtins.toJSON right}";

  vps = evaluated [ (hosts + "/vps-pacman/configuration.nix") ];
  matrix = evaluated [ (hosts + "/lab-matrix/configuration.nix") ];
  eniac = evaluated [
    {
      services.edgeProxy = { enable = true; certificates = "/var/lib/tailnet-ca"; settings = read "id3-eniac/edge.toml"; };
    }
  ];
  withRules = server: evaluated [
    {
      services.postgresql.package = server;
      services.postgresql.ensures = [ { name = "vaultwarden"; passwordFile = "/run/secrets/vaultwarden"; } ];
      services.pgEnsure.hba.services = [ { database = "vaultwarden"; role = "vaultwarden"; } ];
    }
    # What another module adds.
    { services.postgresql.authentication = "host all all 0.0.0.0/0 trust"; }
  ];
  ruled = withRules pkgs.postgresql_18;
  passwords = file: evaluated [ {
    services.pgEnsure = {
      enable = true;
      ensures = [ { name = "app"; passwordFile = "/run/secrets/a"; } ];
      ensureUsers = [ { name = "app"; passwordFile = file; } ];
    };
    services.postgresql.package = pkgs.postgresql_18;
  } ];
  aliased = evaluated [
    ./aliases.nix
    {
      services.postgresql.package = pkgs.postgresql_18;
      services.forgejo.enable = true;
      modules.services.database.postgresql.ensures = [ { name = "vaultwarden"; passwordFile = "/run/secrets/vaultwarden"; } ];
      modules.services.git.forgejo.mailer = {
        from = "forge@example.org"; host = "mail.example.org"; port = 465; passwordFile = "/run/secrets/forgejo-smtp";
      };
    }
  ];
  # Whether an edge with these options beside a valid site is refused.
  refused = more: !(builtins.tryEval (builtins.deepSeq (edgeFile (evaluated [
    { services.edgeProxy = { enable = true; settings.listen = [ { address = "127.0.0.1:80"; } ]; sites.a.upstream = "http://127.0.0.1:3000"; }; }
    { services.edgeProxy = more; }
  ])).value true)).success;
  acmeCommand = vps.systemd.services.acme-dns01.serviceConfig.ExecStart;
  manifest = builtins.head matrix.systemd.services.pg-ensure.restartTriggers;

  facts =
    # The edges' files say what the examples' say; the vps' certificates have a service of their own.
    assert same "vps-pacman/edge.toml"
      (meaning (edgeFile vps).value) (builtins.removeAttrs (meaning (read "vps-pacman/edge.toml")) [ "acme" ]);
    assert same "lab-matrix/edge.toml" (meaning (edgeFile matrix).value) (meaning (read "lab-matrix/edge.toml"));
    assert same "id3-eniac/edge.toml" (edgeFile eniac).value (read "id3-eniac/edge.toml");
    # Forgejo's SSH server is where the edge forwards to, and reads the header that the edge writes.
    assert same "lab-matrix/forgejo.nix: SSH"
      (let server = matrix.services.forgejo.settings.server; in
        { inherit (server) START_SSH_SERVER SSH_SERVER_USE_PROXY_PROTOCOL; to = "tcp://lab-matrix:${toString server.SSH_LISTEN_PORT}"; })
      {
        START_SSH_SERVER = true;
        SSH_SERVER_USE_PROXY_PROTOCOL = (edgeFile vps).value.upstream.forgejo-ssh.proxy_protocol == "v2";
        to = (edgeFile vps).value.upstream.forgejo-ssh.target;
      };
    # The services behind the node's edge are enabled, listen where it forwards to, have the names of its sites, and use the
    # databases of the manifest on PostgreSQL 18.
    assert ensure
      (builtins.all (name: matrix.services.${name}.enable) [ "forgejo" "headscale" "postgresql" "vaultwarden" ])
      "lab-matrix: a service is not enabled";
    assert same "lab-matrix: targets"
      (let targets = (edgeFile matrix).value.upstream; in {
        vaultwarden = targets.vaultwarden.target; headscale = targets.headscale.target; forgejo = targets.forgejo.target;
      })
      (let inherit (matrix.services) vaultwarden headscale forgejo; in {
        vaultwarden = "http://${vaultwarden.config.ROCKET_ADDRESS}:${toString vaultwarden.config.ROCKET_PORT}";
        headscale = "http://${headscale.address}:${toString headscale.port}";
        # The default of NixOS for this protocol.
        forgejo = if forgejo.settings.server.PROTOCOL == "http+unix" then "unix:/run/forgejo/forgejo.sock" else "elsewhere";
      });
    assert same "lab-matrix: names"
      (let inherit (matrix.services) vaultwarden headscale forgejo; in
        [ vaultwarden.config.DOMAIN headscale.settings.server_url forgejo.settings.server.ROOT_URL ])
      (let sites = byName (edgeFile matrix).value.site; of = name: builtins.head sites.${name}.hosts; in
        [ "https://${of "vault"}" "https://${of "headscale"}" "https://${of "git"}/" ]);
    assert same "lab-matrix: databases"
      (let inherit (matrix.services) vaultwarden headscale forgejo; in {
        vaultwarden = [ vaultwarden.dbBackend vaultwarden.config.DATABASE_URL ];
        headscale = [ headscale.settings.database.type headscale.settings.database.postgres ];
        forgejo = removeAttrs forgejo.database [ ];
      })
      {
        vaultwarden = [ "postgresql" "postgresql://vaultwarden@/vaultwarden?host=/run/postgresql" ];
        headscale = [ "postgres" { host = "/run/postgresql"; name = "headscale"; user = "headscale"; } ];
        forgejo = { type = "postgres"; createDatabase = false; socket = "/run/postgresql"; name = "forgejo"; user = "forgejo"; };
      };
    assert ensure (lib.versions.major matrix.services.postgresql.package.version == "18") "lab-matrix: PostgreSQL is not 18";
    # The manifest is the example's, but for where systemd hands the passwords over.
    assert same "databases.toml"
      (builtins.removeAttrs manifest.value [ "ensure" "database" ])
      (builtins.removeAttrs (read "lab-matrix/databases.toml") [ "ensure" ]);
    assert same "databases.toml: ensure"
      (map (entry: entry.name) manifest.value.ensure) (map (entry: entry.name) (read "lab-matrix/databases.toml").ensure);
    assert ensure (vps.networking.firewall.allowedTCPPorts == [ 443 80 2222 ]) "the firewall's ports for TCP";
    assert ensure (vps.networking.firewall.allowedUDPPorts == [ 443 ]) "the firewall's ports for UDP";
    assert ensure (matrix.networking.firewall.allowedTCPPorts == [ ]) "a firewall that nobody asked to open";
    assert ensure (vps.users.users.edge-proxy.group == "acme" && vps.users.users.acme.isSystemUser) "accounts";
    # The other name of the list turns the service on; the rules of a policy are the server's.
    assert same "services.postgresql.ensures"
      (map (entry: entry.name) (builtins.head ruled.systemd.services.pg-ensure.restartTriggers).value.ensure) [ "vaultwarden" ];
    # Roles and databases are there before whatever waits for PostgreSQL, which waits for all tries.
    assert ensure
      (let unit = matrix.systemd.services.pg-ensure; in
        builtins.elem "postgresql.target" unit.before && builtins.elem "postgresql.target" unit.requiredBy
        && builtins.elem "postgresql.service" unit.requires && unit.startLimitIntervalSec == 0
        && unit.serviceConfig.RestartMode == "direct")
      "pg-ensure is not ordered before postgresql.target";
    # The services of the node that have a database there start after it, whatever they say of PostgreSQL themselves.
    assert ensure
      (let unit = matrix.systemd.services.pg-ensure; in
        matrix.services.postgresql.enable
        && builtins.all (entry: builtins.elem "${entry.name}.service" unit.before && builtins.elem "${entry.name}.service" unit.requiredBy)
          (read "lab-matrix/databases.toml").ensure)
      "a service of lab-matrix does not wait for its database";
    assert ensure
      (let unit = vps.systemd.services.edge-proxyd; in
        unit.startLimitIntervalSec == 0 && !(builtins.elem "network-online.target" (unit.after ++ unit.wants)))
      "the edge gives up, or waits for a network that is online";
    # The file of the server is nixpkgs' own, and neither its rules nor those of another module are in it.
    assert same "services.postgresql.authentication"
      (builtins.readFile ruled.services.postgresql.settings.hba_file) "include ${ruled.services.pgEnsure.hbaFile}\n";
    assert ensure
      (let old = withRules pkgs.postgresql_15; in old.services.postgresql.settings.hba_file == "${old.services.pgEnsure.hbaFile}")
      "a server of 15, which knows no include, has other rules";
    assert ensure
      (builtins.length (complaints (evaluated [
        { services.pgEnsure = { enable = true; hba = { }; hbaPolicy = ./test.nix; }; services.postgresql.package = pkgs.postgresql_18; }
      ])) == 1)
      "two policies were taken";
    # A role in two lists has one password: the same file is one credential, and two files are refused.
    assert ensure (builtins.length (complaints (passwords "/run/secrets/b")) == 1) "two passwords of one role were taken";
    assert ensure (complaints (passwords "/run/secrets/a") == [ ]) "one password in two lists is refused";
    assert ensure
      (builtins.length (passwords "/run/secrets/a").systemd.services.pg-ensure.serviceConfig.LoadCredential == 1)
      "one credential is loaded twice";
    # What is wrong is refused: an option that there is not, a type, two that write certificates, nothing to listen on.
    assert ensure (!(builtins.tryEval (edgeFile (evaluated [ { services.edgeProxy = { enable = true; sits = { }; }; } ])).value).success)
      "an option that there is not was taken";
    assert ensure (!(refused { })) "a valid edge is refused";
    assert ensure (refused { sites.a.upstraem = "http://127.0.0.1:3000"; }) "a misspelt key of a site was taken";
    assert ensure (refused { sites.a.route = [ { path = "/"; uptsream = "a"; } ]; }) "a misspelt key of a route was taken";
    assert ensure (refused { settings.listen = [ { adress = "127.0.0.1:81"; } ]; }) "a misspelt key of a listener was taken";
    assert ensure (refused { settings.log.fromat = "json"; }) "a misspelt key of the log was taken";
    assert ensure (refused { sites.a.plain = "srve"; }) "a misspelt word was taken";
    assert ensure (refused { sites.a.body_limit = true; }) "a boolean was taken for a size";
    # Other names of the same options.
    assert same "modules.services.database.postgresql.ensures"
      (map (entry: entry.name) (builtins.head aliased.systemd.services.pg-ensure.restartTriggers).value.ensure) [ "vaultwarden" ];
    assert ensure (lib.hasInfix "smtp-config apply" aliased.systemd.services.forgejo.preStart) "modules.services.git.forgejo.mailer";
    assert same "modules.services.git.forgejo.mailer: passwordFile"
      aliased.systemd.services.forgejo.serviceConfig.LoadCredential [ "forgejo-mailer:/run/secrets/forgejo-smtp" ];
    assert ensure
      (!(builtins.tryEval (builtins.deepSeq (evaluated [
        ./aliases.nix
        {
          services.postgresql.package = pkgs.postgresql_18;
          modules.services.database.postgresql.ensures = [ { name = "a"; pasword_file = "/run/secrets/a"; } ];
        }
      ]).services.postgresql.ensures true)).success)
      "a misspelt key of modules.services.database.postgresql.ensures was taken";
    assert same "certs.NAME.dnsResolver"
      (evaluated [ { security.acmeDns01.certs.a = { dnsResolver = "9.9.9.9:53"; group = "nginx"; }; } ]).security.acmeDns01.certs.a.dnsResolver
      "9.9.9.9:53";
    assert ensure
      (!(builtins.tryEval (builtins.deepSeq (evaluated [ { security.acmeDns01.certs.a.extraDomainNames = "b"; } ]).security.acmeDns01.certs true)).success)
      "a text was taken for a list";
    assert ensure
      (builtins.length (complaints (evaluated [
        (hosts + "/vps-pacman/configuration.nix")
        { services.edgeProxy.settings.acme.email = "admin@example.org"; }
      ])) == 1)
      "two services that write certificates were taken";
    assert ensure (builtins.length (complaints (evaluated [ { services.edgeProxy.enable = true; } ])) == 1)
      "an edge that listens nowhere was taken";
    assert ensure
      (builtins.length (complaints (evaluated [
        { services.forgejoMailer = { enable = true; settings = { from = "a@b"; password = "c"; }; }; }
      ])) == 2)
      "a password in the store was taken";
    assert ensure (let off = evaluated [ ]; in off.systemd.services == { } && off.users.users == { } && complaints off == [ ])
      "importing the modules turns something on";
    true;
in
assert facts;
builtins.concatStringsSep "\n" (
  lines "vps-pacman" vps ++ lines "lab-matrix" matrix ++ lines "id3-eniac" eniac
  ++ map
    (name: run "edge-check" (
      assert ensure (lib.hasInfix "/bin/edge-proxyd check --no-files --errors-only --config " (edgeFile name).script)
        "the build does not check edge.toml";
      builtins.replaceStrings [ "$out" ] [ "${folder}/edge.toml" ] "rm -f $out\n${(edgeFile name).script}"))
    [ vps matrix eniac ]
  ++ [
    # The store of certificates is the folder of this machine in the file, which only `run` would touch.
    (run "acme-list" ''
      printf secret > ${folder}/${builtins.head (builtins.split ":" (builtins.head vps.systemd.services.acme-dns01.serviceConfig.LoadCredential))}
      CREDENTIALS_DIRECTORY=${folder}; export CREDENTIALS_DIRECTORY
      ${builtins.replaceStrings [ " run" ] [ " list" ] acmeCommand} | grep -F '*.eniac.example.org'
    '')
    (run "pg-ensure-check" ''
      for credential in ${builtins.concatStringsSep " " (map (entry: builtins.head (builtins.split ":" entry)) matrix.systemd.services.pg-ensure.serviceConfig.LoadCredential)}; do
        printf secret > ${folder}/$credential
      done
      CREDENTIALS_DIRECTORY=${folder}; export CREDENTIALS_DIRECTORY
      exec ${programs}/bin/pg-ensure check ${manifest} --offline
    '')
    # As it would be built.
    (run "hba-file" ''
      out=${folder}/pg_hba.conf
      ${ruled.services.pgEnsure.hbaFile.script}
      grep -F vaultwarden ${folder}/pg_hba.conf
      printf %s ${lib.escapeShellArg
        (builtins.replaceStrings [ "${ruled.services.pgEnsure.hbaFile}" ] [ "${folder}/pg_hba.conf" ] ruled.services.postgresql.authentication)
      } > ${folder}/authentication
      for from in 127.0.0.1 100.64.0.9 192.0.2.1; do
        for file in pg_hba.conf authentication; do
          ${programs}/bin/pg-hba explain ${folder}/$file --pg 18 --db vaultwarden --user vaultwarden --from $from \
            > ${folder}/$file-$from
        done
        test -s ${folder}/pg_hba.conf-$from
        cmp ${folder}/pg_hba.conf-$from ${folder}/authentication-$from
      done
    '')
    # The rules of the node, of which the build refuses those with a fault.
    (run "matrix-hba-file" ''
      out=${folder}/matrix_hba.conf
      ${matrix.services.pgEnsure.hbaFile.script}
      for name in vaultwarden headscale forgejo grafana; do grep -w "$name" ${folder}/matrix_hba.conf > /dev/null; done
      ${programs}/bin/pg-hba explain ${folder}/matrix_hba.conf --pg 18 --db headscale --user headscale | grep -w trust
    '')
    # As Forgejo's unit does before each start.
    (run "forgejo-start" ''
      mkdir -p ${folder}/forgejo/conf
      printf '[server]\nDOMAIN = git.example.org\n' > ${folder}/forgejo/conf/app.ini
      printf secret > ${folder}/forgejo-mailer
      CREDENTIALS_DIRECTORY=${folder}; export CREDENTIALS_DIRECTORY
      ${matrix.systemd.services.forgejo.preStart}
      grep -Fx 'SMTP_ADDR = mail.example.org' ${folder}/forgejo/conf/app.ini
      grep -F 'PASSWD_URI = file:/run/credentials/forgejo.service/forgejo-mailer' ${folder}/forgejo/conf/app.ini
    '')
    # Each command of the upgrade is one that the program takes.
    (run "upgrade-help" (builtins.concatStringsSep "\n" (map
      (unit: "${matrix.systemd.services.${unit}.serviceConfig.ExecStart} --help >/dev/null")
      [ "upgrade-pg-cluster" "upgrade-pg-cluster-finish" ])))
  ]
) + "\n"
