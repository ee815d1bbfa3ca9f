//! Planning of settings.

use super::change::SettingChange;
use crate::diff::planner::Planner;
use crate::name::{Name, Text};
use crate::object::Setting;
use crate::plan::Obstacle;

/// Plans the changes of settings that apply in all databases.
pub(crate) fn plan(planner: &mut Planner<'_>) {
    let own = planner.desired().settings.iter().filter(|(key, _)| key.database.is_none());
    for (key, settings) in own {
        for (setting, value) in settings {
            change(planner, key.role.as_ref(), None, setting, value.as_ref());
        }
    }
}

/// Plans the changes of settings that apply in one database.
pub(crate) fn plan_in_databases(planner: &mut Planner<'_>) {
    let own = planner.desired().settings.iter().filter(|(key, _)| key.database.is_some());
    for (key, settings) in own {
        for (setting, value) in settings {
            change(planner, key.role.as_ref(), key.database.as_ref(), setting, value.as_ref());
        }
    }
}

/// Plans the change of one setting of this scope, unless it has the desired value. A value that the server rejects
/// is reported as blocked.
fn change(
    planner: &mut Planner<'_>,
    role: Option<&Name>,
    database: Option<&Name>,
    setting: &Setting,
    value: Option<&Text>,
) {
    let found = planner.now().setting(role, database, setting);
    let reason = match (found, value) {
        (None, None) => return,
        (Some(found), Some(value)) if setting.same(found, value) => return,
        (None, Some(_)) => "it is not set".to_owned(),
        (Some(found), _) => format!("it is {found:?}"),
    };
    let (role, database) = (role.cloned(), database.cloned());
    let refused = value.and_then(|value| planner.now().refused.get(&(setting.clone(), value.clone())));
    if let Some(why) = refused.cloned() {
        let change = SettingChange { role, database, setting: setting.clone(), value: value.cloned() };
        let what = change.sql(planner.now().version);
        return planner.block(what, Obstacle::Refused(why));
    }
    planner.emit(SettingChange { role, database, setting: setting.clone(), value: value.cloned() }, reason);
}
