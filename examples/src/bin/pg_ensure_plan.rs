//! A plan without a server: compares a manifest with a cluster that is described in code. Run: `cargo run -p examples
//! --bin pg_ensure_plan`.

use pg_ensure::current::{CurrentState, DatabaseState, RoleState, Session};
use pg_ensure::manifest::{Format, Manifest};
use pg_ensure::{Consent, DEFAULT_ITERATIONS, Name, Version, diff, model};

/// Path of the manifest, relative to `src`.
const MANIFEST: &str = "../hosts/lab-matrix/databases.toml";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(MANIFEST);
    let text = std::fs::read_to_string(&path)?;
    let manifest = Manifest::read(MANIFEST, &text, Format::Toml)?;
    // A real program would read the referenced file; here every password is the same.
    let desired = manifest.resolve(&mut |_| Ok("correct horse".to_owned().into()))?;
    let mut state = new_cluster()?;
    let plan = diff(&state, &desired, &Consent::none());
    print!("{}", plan.script());
    for step in &plan.steps {
        model::change(&mut state, &step.change)?;
    }
    plan.blocked.iter().for_each(|blocked| println!("-- blocked: {blocked}"));
    println!("-- afterwards: {} steps", diff(&state, &desired, &Consent::none()).steps.len());
    Ok(())
}

/// Returns a cluster as initdb creates it, reduced to the parts that the manifest affects. `pg_ensure::client` reads
/// real ones.
///
/// # Errors
/// Returns an error if a name is not valid.
fn new_cluster() -> Result<CurrentState, Box<dyn std::error::Error>> {
    let version = Version::major_version(18);
    let postgres = Name::new("postgres")?;
    let session = Session {
        user: postgres.clone(),
        bootstrap: postgres.clone(),
        database: postgres.clone(),
        in_recovery: false,
        reads_passwords: true,
        self_grant: (false, false),
    };
    let mut state = CurrentState::new(version, session, DEFAULT_ITERATIONS);
    state.databases.insert(Name::new("template1")?, DatabaseState::plain(&postgres, version));
    state.roles.insert(postgres, RoleState { superuser: true, login: true, ..RoleState::default() });
    Ok(state)
}
