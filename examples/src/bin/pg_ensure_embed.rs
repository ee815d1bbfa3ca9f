//! A service that ensures its own database before it starts. Run: `cargo run -p examples --bin pg_ensure_embed --
//! "host=/run/postgresql user=postgres"`.

use pg_ensure::client::{ApplyOptions, Event, Observer, Outcome, Server};
use pg_ensure::{DesiredState, Name, Password};
use tokio_postgres::NoTls;

/// An observer that prints the number and the reason of each step as it is executed, and ignores other events.
struct ProgressObserver;

impl Observer for ProgressObserver {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Step { number, of, step } = event {
            println!("{number} of {of}: {}", step.reason);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(connect) = std::env::args().nth(1) else {
        return Err("say how to connect, such as \"host=/run/postgresql user=postgres\"".into());
    };
    let mut desired = DesiredState::new();
    desired.ensure(&Name::new("guestbook")?, Some(Password::secret("correct horse")));
    let server = Server::new(connect.parse()?, NoTls);
    match server.apply(&desired, &ApplyOptions::default(), &mut ProgressObserver).await? {
        Outcome::Applied(applied) => {
            println!("{} steps, {} blocked", applied.done.len(), applied.left.blocked.len());
        }
        _ => println!("a standby: left alone"),
    }
    Ok(())
}
