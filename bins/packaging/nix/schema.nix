# Types of the module system from a JSON Schema, so that a misspelt key fails where it is written. Patterns, bounds and required keys
# are left to the program's own check.
{ lib }:
let
  inherit (lib) mkOption types;

  isTable = schema: schema ? properties;
  # `either` takes the first type that fits, and a path as text would fit a submodule: tables come last.
  rank = schema: if schema ? properties || schema ? additionalProperties then 2 else if schema ? items then 1 else 0;
  ordered = schemas: builtins.sort (one: other: rank one < rank other) schemas;
  flat = schemas: builtins.concatMap (schema: if schema ? anyOf then flat schema.anyOf else [ schema ]) schemas;

  typeOf = schema:
    if schema ? enum then types.enum schema.enum
    else if schema ? anyOf then
      let alternatives = ordered (flat schema.anyOf);
      in
      # Which of several tables is meant, only the program knows.
      if builtins.length (builtins.filter isTable alternatives) > 1 then types.anything
      else types.oneOf (map typeOf alternatives)
    else if schema ? properties then types.submodule { options = optionsOf schema; }
    else if schema ? additionalProperties && builtins.isAttrs schema.additionalProperties then
      types.attrsOf (typeOf schema.additionalProperties)
    else if schema ? items then types.listOf (typeOf schema.items)
    else
      {
        boolean = types.bool;
        integer = types.int;
        number = types.number;
        string = types.str;
      }.${schema.type or ""} or types.anything;

  # The options of a table; one that is not given is null.
  optionsOf = schema:
    builtins.mapAttrs
      (_: property: mkOption {
        type = types.nullOr (typeOf property);
        default = null;
        description = property.description or "See the documentation of the program's configuration.";
      })
      schema.properties;

  # Removes the options that were not given.
  compact = value:
    if builtins.isAttrs value then
      builtins.mapAttrs (_: compact) (lib.filterAttrs (_: inner: inner != null) value)
    else if builtins.isList value then map compact value
    else value;
in
{
  inherit compact optionsOf typeOf;
}
