//! Every kind of object created, changed, drifted by hand and repaired, on real servers.



use crate::common::{as_superuser, converge, import_is_a_no_op, name, on_each, plan};

use pg_ensure::{Consent, Desired, Password};

#[test]
fn the_shortest_form() {
    on_each(|postgres| {
        let server = as_superuser(postgres);
        let mut desired = Desired::new();
        desired.ensure(&name("vaultwarden"), Some(Password::secret("pass word")));
        let applied = converge(&server, &desired, &Consent::none());
        assert_eq!(applied.done.len(), 3, "{:?}", applied.done);
        assert!(plan(&server, &desired).is_empty());
        import_is_a_no_op(&server);
    });
}
