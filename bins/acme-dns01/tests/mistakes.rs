//! Realistic mistakes: each is answered with its file, line, value and fix.

use testkit::mistakes::{Mistake, check, file, usage};

const MISTAKES: [Mistake; 34] = [
    file(1, "emial = \"a@b\"\n", "emial", "did you mean `email`?"),
    file(1, "email = 1\n", "email = 1", "quotes"),
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
