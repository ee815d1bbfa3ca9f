# The outputs of flake.nix with a stand-in for nixpkgs: packages are the sets of their attributes, and nothing is built.
let
  flake = import ../../../flake.nix;
  pkgs = {
    cmake = "cmake";
    installShellFiles = "installShellFiles";
    perl = "perl";
    rustPlatform.buildRustPackage = attributes: attributes // { outPath = "/built/${attributes.pname}"; };
    runCommand = name: _: script: { inherit name script; };
  };
  nixpkgs = {
    lib.genAttrs =
      names: make:
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = make name;
        }) names
      );
    legacyPackages = {
      x86_64-linux = pkgs;
      aarch64-linux = pkgs;
    };
  };
  self = {
    outPath = "/source";
  };
  outputs = flake.outputs { inherit self nixpkgs; };
  packages = outputs.packages.x86_64-linux;
  overlay = outputs.overlays.default pkgs pkgs;
  names = builtins.attrNames (removeAttrs packages [ "default" ]);
  line = name: "package ${name} ${builtins.concatStringsSep " " packages.${name}.cargoBuildFlags} ${packages.${name}.cargoLock.lockFile}";
in
assert packages.default.pname == "edge-proxyd";
assert builtins.attrNames overlay == names;
assert builtins.attrNames outputs.packages == builtins.attrNames outputs.checks;
assert builtins.pathExists outputs.nixosModules.default;
assert builtins.match ".*edge-proxyd check --no-files --errors-only .*" (builtins.replaceStrings [ "\n" ] [ " " ] outputs.checks.x86_64-linux.examples.script) != null;
builtins.concatStringsSep "\n" (map line names)
