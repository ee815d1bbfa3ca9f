# The part of nixpkgs' lib that the modules here use, with a module system: types are checked, defaults taken, definitions of
# several modules merged, options that nobody declared refused. It is for tests on machines without nixpkgs; on NixOS the
# modules get the real one, and `cargo xtask nix --lib NIXPKGS/lib` evaluates the same tests by it.
let
  inherit (builtins)
    attrNames attrValues concatMap concatStringsSep elem filter foldl' head isAttrs isFunction isList listToAttrs mapAttrs
    sort toJSON;

  lib = {
    inherit types evalModules;
    inherit (builtins) concatMap concatStringsSep elem filter mapAttrs;

    mkOption = option: option // { _type = "option"; };
    mkEnableOption = what: lib.mkOption { type = types.bool; default = false; description = "Whether there is ${what}."; };
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkOverride = priority: content: { _type = "override"; inherit priority content; };
    mkDefault = lib.mkOverride 1000;
    mkForce = lib.mkOverride 50;
    mkOrder = priority: content: { _type = "order"; inherit priority content; };
    mkAfter = lib.mkOrder 1500;
    literalExpression = text: { _type = "literalExpression"; inherit text; };

    nameValuePair = name: value: { inherit name value; };
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    filterAttrs = keep: set:
      listToAttrs (concatMap (name: lib.optional (keep name set.${name}) (lib.nameValuePair name set.${name})) (attrNames set));
    genAttrs = names: f: listToAttrs (map (name: lib.nameValuePair name (f name)) names);
    recursiveUpdate = left: right:
      left // mapAttrs
        (name: value:
          if isAttrs value && isAttrs (left.${name} or null) then lib.recursiveUpdate left.${name} value else value)
        right;
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: list: if condition then list else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    optionalString = condition: text: if condition then text else "";
    unique = foldl' (seen: value: if elem value seen then seen else seen ++ [ value ]) [ ];
    toUpper = builtins.replaceStrings
      (map (n: builtins.substring n 1 "abcdefghijklmnopqrstuvwxyz") (builtins.genList (n: n) 26))
      (map (n: builtins.substring n 1 "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (builtins.genList (n: n) 26));
    toInt = builtins.fromJSON;
    hasInfix = part: text: builtins.length (builtins.split (lib.escapeRegex part) text) > 1;
    escapeRegex = builtins.replaceStrings
      (map (n: builtins.substring n 1 "\\[{()^$?*+|.") (builtins.genList (n: n) 12))
      (map (n: "\\" + builtins.substring n 1 "\\[{()^$?*+|.") (builtins.genList (n: n) 12));
    last = list: builtins.elemAt list (builtins.length list - 1);
    splitString = by: text: filter builtins.isString (builtins.split (lib.escapeRegex by) text);
    escapeShellArg = text:
      if builtins.match "[[:alnum:],._+:@%/-]+" (toString text) != null then toString text
      else "'" + builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString text) + "'";
    escapeShellArgs = list: concatStringsSep " " (map lib.escapeShellArg list);
    getExe' = package: name: "${package}/bin/${name}";
    versions.major = version: head (builtins.splitVersion version);
  };

  # A type is a name, a check of one definition, and how definitions become a value.
  one = name: check: {
    inherit name check;
    merge = at: values:
      if builtins.all (value: value == head values) values then head values
      else throw "The option `${concatStringsSep "." at}' has conflicting definition values.";
  };
  types = {
    str = one "string" builtins.isString;
    bool = one "boolean" builtins.isBool;
    int = one "signed integer" builtins.isInt;
    number = one "number" (value: builtins.isInt value || builtins.isFloat value);
    port = one "16 bit unsigned integer" (value: builtins.isInt value && value >= 0 && value <= 65535);
    path = one "absolute path" (value: builtins.substring 0 1 (toString value) == "/");
    package = one "package" (value: builtins.isString value || isAttrs value);
    anything = {
      name = "anything";
      check = _: true;
      merge = at: values:
        if builtins.all isAttrs values then
          builtins.zipAttrsWith (name: types.anything.merge (at ++ [ name ])) values
        else if builtins.all isList values then builtins.concatLists values
        else (one "anything" (_: true)).merge at values;
    };
    lines = { name = "strings concatenated with \"\\n\""; check = builtins.isString; merge = _: concatStringsSep "\n"; };
    enum = values: one "one of ${toJSON values}" (value: elem value values);
    nullOr = type: {
      name = "null or ${type.name}";
      check = value: value == null || type.check value;
      merge = at: values: if builtins.all (value: value == null) values then null else type.merge at values;
    };
    # The first type that takes all definitions.
    oneOf = alternatives: {
      name = concatStringsSep " or " (map (type: type.name) alternatives);
      check = value: builtins.any (type: type.check value) alternatives;
      merge = at: values:
        let fitting = filter (type: builtins.all type.check values) alternatives; in
        if fitting == [ ] then throw "The option `${concatStringsSep "." at}' has definitions of different types."
        else single at (head fitting) values;
    };
    listOf = type: {
      name = "list of ${type.name}";
      check = isList;
      merge = at: values: map (value: single at type [ value ]) (builtins.concatLists values);
    };
    attrsOf = type: {
      name = "attribute set of ${type.name}";
      check = isAttrs;
      merge = at: values: builtins.zipAttrsWith (name: single (at ++ [ name ]) type) values;
    };
    submodule = module: {
      name = "submodule";
      check = value: isAttrs value || isFunction value;
      merge = at: values: (evaluate at (toList module ++ map (value: { config = value; }) values) { name = lib.last at; }).config;
    };
  };
  toList = value: if isList value then value else [ value ];

  # What conditions and merges leave of a definition, each with its priority and its place.
  discharge = definition:
    if isAttrs definition && definition ? _type then
      if definition._type == "if" then lib.optionals definition.condition (discharge definition.content)
      else if definition._type == "merge" then concatMap discharge definition.contents
      else if definition._type == "override" then map (left: left // { inherit (definition) priority; }) (discharge definition.content)
      else if definition._type == "order" then map (left: left // { order = definition.priority; }) (discharge definition.content)
      else [ { value = definition; priority = 100; order = 1000; } ]
    else [ { value = definition; priority = 100; order = 1000; } ];

  # The value that a type makes of definitions.
  single = at: type: definitions:
    let
      all = concatMap discharge definitions;
      strongest = foldl' (least: left: if left.priority < least then left.priority else least) 9999 all;
      values = map (left: left.value) (sort (a: b: a.order < b.order) (filter (left: left.priority == strongest) all));
      wrong = filter (value: !(type.check value)) values;
    in
    if wrong != [ ] then
      throw "A definition for option `${concatStringsSep "." at}' is not of type `${type.name}': ${toJSON (head wrong)}"
    else type.merge at values;

  option = at: declared: definitions:
    let
      left = concatMap discharge definitions;
      value =
        if left != [ ] then single at declared.type definitions
        else if declared ? default then single at declared.type [ declared.default ]
        else throw "The option `${concatStringsSep "." at}' was accessed but has no value defined.";
    in
    if left != [ ] && (declared.readOnly or false) then throw "The option `${concatStringsSep "." at}' is read-only."
    else if declared ? apply then declared.apply value
    else value;

  # The sets of a definition, with its conditions pushed down to what they hold, so that a condition may ask for other options.
  push = definition:
    let below = wrap: map (mapAttrs (_: wrap)) (push definition.content); in
    if definition._type or null == "if" then below (lib.mkIf definition.condition)
    else if definition._type or null == "merge" then concatMap push definition.contents
    else if definition._type or null == "override" then below (lib.mkOverride definition.priority)
    else if definition._type or null == "order" then below (lib.mkOrder definition.priority)
    else [ definition ];

  # The configuration below a set of options.
  configured = at: options: freeform: definitions:
    let
      sets = concatMap push definitions;
      of = name: concatMap (set: lib.optional (set ? ${name}) set.${name}) sets;
      unknown = filter (name: !(options ? ${name})) (lib.unique (concatMap attrNames sets));
      declared = mapAttrs
        (name: child:
          if child._type or null == "option" then option (at ++ [ name ]) child (of name)
          else configured (at ++ [ name ]) child null (of name))
        options;
    in
    if freeform != null then
      single at freeform (map (lib.filterAttrs (name: _: elem name unknown)) sets) // declared
    else if unknown != [ ] then throw "The option `${concatStringsSep "." (at ++ [ (head unknown) ])}' does not exist."
    else declared;

  evaluate = at: modules: arguments:
    let
      # A file that is imported twice counts once.
      open = module:
        let
          file = if builtins.isPath module then import module else module;
          opened = if isFunction file then file (arguments // { inherit lib config; }) else file;
          key = if builtins.isPath module then toString module else null;
        in
        concatMap open (opened.imports or [ ]) ++ [ { inherit key opened; } ];
      all = map (entry: entry.opened) (foldl'
        (seen: entry:
          if entry.key != null && builtins.any (other: other.key == entry.key) seen then seen else seen ++ [ entry ])
        [ ]
        (concatMap open modules));
      merged = foldl' lib.recursiveUpdate { } (map (module: module.options or { }) all);
      freeforms = concatMap (module: lib.optional (module ? freeformType) module.freeformType) all;
      definitions = map
        (module: if module ? config || module ? options then module.config or { } else removeAttrs module [ "imports" ])
        all;
      config = configured at merged (if freeforms == [ ] then null else head freeforms) definitions;
    in
    { inherit config; options = merged; };

  evalModules = { modules, specialArgs ? { } }: evaluate [ ] modules specialArgs;
in
lib
