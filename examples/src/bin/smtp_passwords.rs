//! Shows which passwords remain unchanged on which route to Forgejo. Run: `cargo run -p examples --bin smtp_passwords`.

use secrecy::SecretString;
use smtp_config::{Version, by_app_ini, by_environment_file, by_uri};

fn main() {
    let file = Some("/run/secrets/smtp");
    for password in ["plain", "pa#ss;word", "back`tick", "\"quoted\"", "\"\"\"three", " spaced ", "%(USER)s"]
    {
        let secret = SecretString::from(password);
        let said = |outcome: Result<_, smtp_config::RouteError>| match outcome {
            Ok(_) => "survives".to_owned(),
            Err(why) => why.to_string(),
        };
        println!("{password}");
        println!("  PASSWD in app.ini  {}", said(by_app_ini(&secret)));
        println!("  PASSWD__FILE       {}", said(by_environment_file(&secret, file)));
        println!("  PASSWD_URI         {}", said(by_uri(Version::default(), &secret, file)));
    }
}
