//! Realistic mistakes: each is answered with its file, line, value and fix.

use testkit::mistakes::{Mistake, check, file, together, usage};

const MISTAKES: [Mistake; 44] = [
    file(1, "emial = \"a@b\"\n", "emial", "did you mean `email`?"),
    file(1, "email = 1\n", "email = 1", "quotes"),
    file(1, "email = \"a\"\n", "`a`", "admin@example.org"),
    file(1, "email = \"\"\n", "email", "leave the key out"),
    file(1, "email = [\"mailto:admin@example.org\"]\n", "mailto:admin@example.org", "without `mailto:`"),
    file(1, "parallel = \"5\"\n", "\"5\"", "without quotes"),
    file(1, "agree_terms = \"yes\"\n", "\"yes\"", "true or false"),
    file(1, "[certificate]\nnames = \"a.example.org\"\n", "certificate", "[[certificate]]"),
    file(1, "[[certificate]]\nname = \"x\"\n", "certificate[0].names", "names = [\"git.example.org\"]"),
    file(2, "[[certificate]]\nnames = \"localhost\"\n", "localhost", "www.example.org"),
    file(
        2,
        "[[certificate]]\nnames = \"https://a.example.org\"\n",
        "https://a.example.org",
        "without scheme",
    ),
    file(2, "[[certificate]]\nnames = \"*.*.example.org\"\n", "*.*.example.org", "write `*.example.org`"),
    file(2, "[[certificate]]\ndomains = \"a.example.org\"\n", "domains", "write names"),
    file(
        3,
        "[[certificate]]\nnames = \"git.example.org\"\nkeytype = \"ec256\"\n",
        "keytype",
        "did you mean `key_type`?",
    ),
    file(3, "[[certificate]]\nnames = \"git.example.org\"\nkey_type = \"dsa\"\n", "dsa", "ec256"),
    file(3, "[[certificate]]\nnames = \"git.example.org\"\nkey_type = \"rsa\"\n", "rsa", "rsa2048"),
    file(
        3,
        "[[certificate]]\nnames = \"git.example.org\"\nprovider = \"cloudflair\"\n",
        "cloudflair",
        "[provider.cloudflair]",
    ),
    file(
        3,
        "[[certificate]]\nnames = \"git.example.org\"\nauthority = \"letsencript\"\n",
        "letsencript",
        "letsencrypt",
    ),
    file(3, "[[certificate]]\nnames = \"git.example.org\"\nname = \"a/b\"\n", "a/b", "letters, digits"),
    file(3, "[[certificate]]\nnames = \"git.example.org\"\nwebroot = \"/var/www\"\n", "webroot", "DNS-01"),
    file(3, "[[certificate]]\nnames = \"git.example.org\"\nrenew_hook = \"x\"\n", "renew_hook", "post_run"),
    file(
        3,
        "[[certificate]]\nnames = \"git.example.org\"\nreload_services = \"nginx\"\n",
        "nginx",
        "reload_services = [\"nginx\"]",
    ),
    file(
        3,
        "[[certificate]]\nnames = \"git.example.org\"\nvalid_min_days = \"30\"\n",
        "\"30\"",
        "without quotes",
    ),
    file(
        3,
        "[[certificate]]\nnames = \"git.example.org\"\n[[certificate]]\nnames = \"git.example.org\"\n",
        "git.example.org",
        "another name",
    ),
    file(3, "[[certificate]]\nnames = \"git.example.org\"\ncheck = \"443\"\n", "443", "127.0.0.1:443"),
    file(
        3,
        "[[certificate]]\nnames = \"git.example.org\"\ncheck = \"https://127.0.0.1\"\n",
        "https://127.0.0.1",
        "host:port",
    ),
    file(
        3,
        "[[certificate]]\nnames = \"git.example.org\"\ncheck = [\"[::1]:443\", \"smtp:25\"]\n",
        "smtp:25",
        "smtp:127.0.0.1:587",
    ),
    file(2, "[provider.a]\nkind = \"cloudflair\"\n", "cloudflair", "did you mean `cloudflare`?"),
    file(1, "[provider.a]\ntoken = \"file:/x\"\n", "provider.a.kind", "kind = \"cloudflare\""),
    file(3, "[provider.a]\nkind = \"cloudflare\"\ntoken = \"hunter2\"\n", "provider.a.token", "file:/path"),
    file(
        3,
        "[provider.a]\nkind = \"cloudflare\"\napi_token = \"hunter2\"\n",
        "api_token",
        "token = \"file:/path\"",
    ),
    file(
        3,
        "[provider.a]\nkind = \"rfc2136\"\nserver = \"ns.example.org\"\n",
        "ns.example.org",
        "192.0.2.53:53",
    ),
    file(1, "[provider.a]\nkind = \"exec\"\n", "provider.a.program", "program ="),
    file(
        5,
        "[provider.a]\nkind = \"dns-update\"\nservice = \"desec\"\nzones = []\ncredentials = { token = \"file:/x\" }\n\
         token = \"file:/y\"\n",
        "provider.a.credentials.token",
        "leave one of them out",
    ),
    file(
        5,
        "[provider.a]\nkind = \"dns-update\"\nservice = \"desec\"\nzones = []\ncredentials.kee = \"file:/x\"\n\
         token = \"file:/y\"\n",
        "provider.a.credentials.kee",
        "expected token",
    ),
    file(
        4,
        "[provider.a]\nkind = \"dns-update\"\nservice = \"powerdns\"\nbase = \"127.0.0.1:8081\"\nzones = []\n\
         credentials.api_key = \"file:/x\"\n",
        "provider.a.base",
        "http://127.0.0.1:8081",
    ),
    file(
        4,
        "[provider.a]\nkind = \"dns-update\"\nservice = \"powerdns\"\nbase = \"http://me:hunter2@127.0.0.1\"\nzones = []\n\
         credentials.api_key = \"file:/x\"\n",
        "provider.a.base",
        "without a user name",
    ),
    file(2, "[dns]\nresolvers = \"dns.google\"\n", "dns.google", "1.1.1.1"),
    file(2, "[dns]\nmode = \"resolver\"\n", "resolver", "did you mean `resolvers`?"),
    file(1, "[authority.own]\nroots = \"/x\"\n", "authority.own.directory", "directory ="),
    file(2, "[alert]\nwebhook = \"https://ntfy.sh/secret\"\n", "alert.webhook", "file:/path"),
    file(1, "email = a@example.org\n", "not valid TOML", "quotes"),
    usage(&["--confg", "x", "list"], "--confg", "--config"),
    usage(&["lst"], "lst", "list"),
];

#[test]
fn every_mistake_is_named_with_its_place_value_and_fix() {
    check(env!("CARGO_BIN_EXE_acme-dns01"), "acme.toml", &["simulate", "--config", "FILE"], &MISTAKES);
}

#[test]
fn mistakes_of_form_and_of_meaning_are_named_together() {
    let text = "emial = \"a@b\"\n\n[provider.a]\nkind = \"rfc2136\"\nserver = \"192.0.2.1:53\"\nkey_name = \"k\"\n\n\
                [[certificate]]\nnames = \"a.example.org\"\nauthority = \"nobody\"\nvalid_min_days = \"30\"\n";
    let wanted = [
        (1, "emial"),
        (6, "provider.a.key_name"),
        (10, "certificate[0].authority"),
        (11, "certificate[0].valid_min_days"),
    ];
    for command in ["check", "simulate", "list"] {
        let args = [command, "--config", "FILE"];
        assert_eq!(
            together(env!("CARGO_BIN_EXE_acme-dns01"), "acme.toml", &args, text, &wanted),
            wanted.len()
        );
    }
}

/// Whatever happens, programs read one document.
#[test]
fn each_answer_is_one_document() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "x\n").expect("a file");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
    let text = "folder = \"FOLDER/acme\"\n[authority.gone]\ndirectory = \"https://127.0.0.1:1/directory\"\n\
                [dns]\nresolvers = [\"127.0.0.1:1\"]\n[provider.own]\nkind = \"cloudflare\"\nbase = \"http://127.0.0.1:1\"\n\
                token = \"file:FOLDER/secret\"\n[[certificate]]\nnames = [\"a.test\"]\nauthority = \"gone\"\n";
    let text = text.replace("FOLDER", &folder.path().display().to_string());
    std::fs::write(folder.path().join("acme.toml"), text).expect("a file");
    let answer = |code: i32, args: &[&str]| {
        testkit::document(env!("CARGO_BIN_EXE_acme-dns01"), folder.path(), args, code)
    };
    answer(0, &["--config", "acme.toml", "simulate"]);
    assert!(answer(0, &["--config", "acme.toml", "list"]).is_array());
    answer(2, &["--config", "acme.toml", "check", "--dry"]);
    // The certificates of a run that failed stand in the same document.
    let failed = answer(1, &["--config", "acme.toml", "issue"]);
    assert_eq!(failed["certificates"][0]["how"], "failed", "{failed}");
    answer(1, &["--config", "acme.toml", "adopt", "nowhere"]);
    answer(2, &["--config", "acme.toml", "renew", "b.test"]);
    answer(2, &["--config", "nowhere.toml", "list"]);
    answer(2, &["lst"]);
}
