//! Resolution of settings of roles and databases.

use super::Resolution;
use crate::current::SettingKey;
use crate::desired::Subject;
use crate::manifest::spanned::{SettingValue, Settings};
use crate::name::{Name, Text};
use crate::object::Setting;

impl Resolution<'_, '_> {
    /// Resolves settings of a role, of a database, of a role in a database or, if both are `None`, of all roles, and
    /// adds them to the desired state. Errors are recorded: a name or value that is not valid, `absent = false`, or two
    /// declarations with different values.
    pub(in crate::manifest) fn settings(
        &mut self,
        role: Option<&Name>,
        database: Option<&Name>,
        settings: &Settings,
    ) {
        for (word, value) in settings {
            let setting = match Setting::new(word.as_ref()) {
                Ok(setting) => setting,
                Err(why) => {
                    self.wrong(word.span(), why.to_string());
                    continue;
                }
            };
            let text = match value.as_ref() {
                SettingValue::Flag(flag) => Some(if *flag { "on" } else { "off" }.to_owned()),
                SettingValue::Integer(number) => Some(number.to_string()),
                SettingValue::Number(number) => Some(number.to_string()),
                SettingValue::Text(text) => Some(text.clone()),
                SettingValue::List(parts) if setting.is_list() => {
                    let quoted: Vec<String> =
                        parts.iter().map(|part| crate::name::identifier(part)).collect();
                    Some(quoted.join(", "))
                }
                SettingValue::List(parts) => Some(parts.join(",")),
                SettingValue::Absent(absent) => {
                    if !absent.absent {
                        let why =
                            "absent = false declares nothing: leave the setting out, or write absent = true";
                        self.wrong(value.span(), why);
                        continue;
                    }
                    None
                }
            };
            let value = match text.map(|text| Text::new(&text)).transpose() {
                Ok(value) => value,
                Err(why) => {
                    self.wrong(value.span(), why.to_string());
                    continue;
                }
            };
            let subject = Subject::Setting(role.cloned(), database.cloned(), setting.clone());
            let key = SettingKey { role: role.cloned(), database: database.cloned() };
            if self.desired.settings.get(&key).and_then(|all| all.get(&setting)) == Some(&value) {
                // Several declarations of one object agree.
                continue;
            }
            if self.place(subject, word.span(), Vec::new()) {
                self.desired.setting(role.cloned(), database.cloned(), setting, value);
            }
        }
    }
}
