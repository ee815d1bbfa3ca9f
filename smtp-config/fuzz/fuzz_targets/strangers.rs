//! What comes from servers and from the DNS: replies, records, names of variables, addresses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp_config::policy::{Answer, Answers, dkim, dmarc, spf, terms};
use smtp_config::{AddressRules, environment, mailbox, mechanism, reply, reply_to, secret_path, split_host_port};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((found, length))) = reply(bytes) {
        assert!(length <= bytes.len() && !found.lines.is_empty());
        // What has arrived early is no other reply than what has arrived at once.
        assert_eq!(reply(&bytes[..length]), Ok(Some((found.clone(), length))));
        let _ = (found.text(), found.extension("AUTH").and_then(mechanism));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for rules in AddressRules::ALL {
        let _ = (mailbox(text, *rules), reply_to(text, *rules).is_ok());
    }
    let _ = (environment::decode(text), terms(text), secret_path(text), split_host_port(text));
    let texts = [text.to_owned()];
    let _ = (dkim(&texts), dmarc("example.org", "a.example.org", &texts));
    let mut answers = Answers::default();
    for _ in 0..64 {
        let address = "192.0.2.1".parse().expect("an address");
        match spf(address, "example.org", "a@example.org", "mail.example.org", &answers) {
            Ok((_, lookups)) => {
                assert!(lookups <= 11);
                break;
            }
            Err(question) => answers.insert(question, Answer::Texts(texts.to_vec())),
        }
    }
});
