//! No text makes the reader of manifests panic; places of errors are in the text; what is valid is written and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_ensure::manifest::{Format, Manifest, write};

fuzz_target!(|input: (bool, &str)| {
    let (json, text) = input;
    let format = if json { Format::Json } else { Format::Toml };
    let lines = text.split('\n').count();
    let resolved = Manifest::read("f", text, format)
        .and_then(|manifest| manifest.resolve(&mut |reference| Ok(reference.to_owned().into())));
    match resolved {
        Ok(mut desired) => {
            desired.roles.values_mut().for_each(|role| role.password = None);
            let text = write(&desired, Format::Json).expect("it has no secrets");
            Manifest::read("f", &text, Format::Json)
                .and_then(|manifest| manifest.resolve(&mut |_| unreachable!()))
                .expect("what was written is read");
        }
        Err(problems) => problems.0.iter().for_each(|problem| assert!((1..=lines).contains(&problem.line))),
    }
});
