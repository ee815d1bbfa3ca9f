# The programs and NixOS modules of this workspace as a flake.
#
#   nix build .#edge-proxyd
#   inputs.stack.url = "path:/path/to/this/checkout"; imports = [ inputs.stack.nixosModules.default ];
#
# The module's packages come from the overlay: nixpkgs.overlays = [ inputs.stack.overlays.default ];
{
  description = "An edge proxy, ACME DNS-01, PostgreSQL provisioning and policy, and Forgejo's mailer";

  inputs.nixpkgs.url = "nixpkgs";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      # The name of each program and the package that it is built from.
      programs = {
        acme-dns01 = "acme-dns01-cli";
        edge-proxyd = "edge-proxyd";
        pg-ensure = "pg-ensure-cli";
        pg-hba = "pg-hba-cli";
        smtp-config = "smtp-config-cli";
        upgrade-pg-cluster = "upgrade-pg-cluster";
      };
      build =
        pkgs: name: package:
        pkgs.rustPlatform.buildRustPackage {
          pname = name;
          version = "0.1.0";
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          cargoBuildFlags = [
            "--package"
            package
          ];
          # The tests need servers and a network of their own: cargo xtask test runs them.
          doCheck = false;
          nativeBuildInputs = [
            pkgs.cmake
            pkgs.installShellFiles
            pkgs.perl
          ];
          postInstall = ''
            mkdir pages
            $out/bin/${name} man --folder pages
            installManPage pages/*
            for shell in bash fish zsh; do
              $out/bin/${name} completions $shell > ${name}.$shell
              installShellCompletion --cmd ${name} --$shell ${name}.$shell
            done
          '';
          meta = {
            mainProgram = name;
            license = [
              "MIT"
              "Apache-2.0"
            ];
          };
        };
      all = pkgs: builtins.mapAttrs (build pkgs) programs;
    in
    {
      packages = each (pkgs: all pkgs // { default = (all pkgs).edge-proxyd; });

      overlays.default = final: _: all final;

      nixosModules.default = ./bins/packaging/nix;

      checks = each (pkgs: {
        # The examples are valid for the programs as built here.
        examples = pkgs.runCommand "examples" { } ''
          ${(all pkgs).edge-proxyd}/bin/edge-proxyd check --no-files --errors-only --config ${./examples/hosts/id3-eniac/edge.toml}
          ${(all pkgs).pg-hba}/bin/pg-hba render --policy ${./examples/hosts/lab-matrix/hba.toml}
          touch $out
        '';
      });
    };
}
