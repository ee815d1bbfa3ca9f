//! The accounts of the operating system.

/// Returns the name of the account of this process, or its number if it has no name.
pub(super) fn account() -> String {
    name_of(rustix::process::geteuid().as_raw())
}

/// Returns the name of a user id, or the number if it has no name.
pub(super) fn name_of(uid: u32) -> String {
    let output = std::process::Command::new("id").args(["-un", &uid.to_string()]).output();
    let name = output.ok().filter(|output| output.status.success());
    let name = name.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| uid.to_string())
}
