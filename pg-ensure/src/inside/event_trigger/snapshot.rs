//! Event triggers in a snapshot.

use super::{DatabaseEvent, EventTriggerState, Firing};
use crate::client::snapshot::{Names, SnapshotError, Str, maybe_text, text};
use crate::inside::Contents;

/// Query for one array per event trigger: name, owner, event, schema and name of the function, tags, where it fires,
/// comment, extension.
pub(in crate::inside) const QUERY: &str = "SELECT json_build_array(e.evtname, o.rolname, e.evtevent, n.nspname,
        p.proname, coalesce(e.evttags, '{}'), e.evtenabled::text, c.description, x.extname) AS entry
    FROM pg_event_trigger e JOIN pg_roles o ON o.oid = e.evtowner JOIN pg_proc p ON p.oid = e.evtfoid
        JOIN pg_namespace n ON n.oid = p.pronamespace
        LEFT JOIN pg_description c ON c.objoid = e.oid AND c.classoid = 'pg_event_trigger'::regclass
        LEFT JOIN pg_depend d ON d.objid = e.oid AND d.classid = 'pg_event_trigger'::regclass AND d.deptype = 'e'
        LEFT JOIN pg_extension x ON x.oid = d.refobjid";

/// Query for the functions that event triggers can call.
pub(in crate::inside) const FUNCTIONS: &str = "SELECT json_build_array(n.nspname, p.proname) AS entry
    FROM pg_proc p JOIN spaces n ON n.oid = p.pronamespace
    WHERE p.prorettype = 'event_trigger'::regtype AND p.pronargs = 0";

/// Row of the query of functions: schema and name.
pub(in crate::inside) type FunctionRow<'a> = (Str<'a>, Str<'a>);
/// Row of the query: name, owner, event, schema and name of the function, tags, where it fires, comment, extension.
pub(in crate::inside) type Row<'a> =
    (Str<'a>, Str<'a>, Str<'a>, Str<'a>, Str<'a>, Vec<Str<'a>>, Str<'a>, Option<Str<'a>>, Option<Str<'a>>);

/// Adds the event trigger of a row to `contents`. One with an event of a later version is left out.
///
/// # Errors
/// Returns an error if a value is not valid.
pub(in crate::inside) fn read(
    (name, owner, event, schema, function, tags, enabled, comment, extension): Row<'_>,
    names: &mut Names,
    contents: &mut Contents,
) -> Result<(), SnapshotError> {
    let Some(event) = DatabaseEvent::named(&event) else { return Ok(()) };
    let state = EventTriggerState {
        owner: names.get(&owner)?,
        event,
        function: (names.get(&schema)?, names.get(&function)?),
        tags: tags.iter().map(|tag| text(tag)).collect::<Result<_, _>>()?,
        enabled: match &*enabled {
            "O" => Firing::Origin,
            "R" => Firing::Replica,
            "A" => Firing::Always,
            "D" => Firing::Disabled,
            other => return Err(SnapshotError::Value(other.to_owned())),
        },
        comment: maybe_text(comment.as_ref())?,
        extension: extension.map(|extension| names.get(&extension)).transpose()?,
    };
    contents.event_triggers.insert(names.get(&name)?, state);
    Ok(())
}
