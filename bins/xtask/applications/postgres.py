"""A server of PostgreSQL for the applications, whose databases are made by pg-ensure and whose access rules by pg-hba."""

import os
import secrets
import subprocess

DATABASES = ["miniflux", "synapse"]

# Synapse refuses a database with another collation than C.
MANIFEST = """[[ensure]]
name = "miniflux"
password_file = "{folder}/secret-miniflux"

[[ensure]]
name = "synapse"
password_file = "{folder}/secret-synapse"

[[database]]
name = "synapse"
owner = "synapse"
encoding = "UTF8"
template = "template0"
lc_collate = "C"
lc_ctype = "C"
"""

POLICY = """local = "scram"
tailnet = "off"
tls = "optional"

[[services]]
database = "miniflux"
role = "miniflux"

[[services]]
database = "synapse"
role = "synapse"
"""


class Postgres:
    """A running server at port 5432 of loopback. It runs in a user namespace whose only account is `postgres`, since it
    refuses to run as root."""

    def __init__(self, lab):
        self.lab, self.folder = lab, lab.path("postgresql")
        self.programs = os.path.dirname(lab.edge)
        self.passwords = {name: secrets.token_urlsafe(24) for name in DATABASES}
        os.makedirs(self.folder)
        for name, password in self.passwords.items():
            path = f"{self.folder}/secret-{name}"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(password + "\n")
        self.write("databases.toml", MANIFEST.format(folder=self.folder))
        self.write("hba.toml", POLICY)
        binaries = f"{lab.tools}/postgresql-18/bin"
        data = f"{self.folder}/data"
        options = ["-U", "postgres", "-A", "peer", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C.UTF-8"]
        lab.run([*self.account(), f"{binaries}/initdb", "-D", data, *options])
        settings = ["-k", self.folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=32MB"]
        lab.start("postgresql", [*self.account(), f"{binaries}/postgres", "-D", data, *settings], 5432)
        self.provision()

    def write(self, name, text):
        with open(f"{self.folder}/{name}", "w") as file:
            file.write(text)

    @staticmethod
    def account():
        """The beginning of a command that runs as `postgres`, in a namespace in which this account is the present one."""
        return ["unshare", "--user", "--map-user=postgres", "--map-group=postgres"]

    def ask(self, program, *arguments):
        """Runs a program of this project, and returns its status and output."""
        command = [*self.account(), f"{self.programs}/{program}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.lab.environment)
        return done.returncode, done.stdout + done.stderr

    def url(self, name, password=None):
        return f"postgres://{name}:{password or self.passwords[name]}@127.0.0.1:5432/{name}?sslmode=disable"

    def logs_in(self, url):
        """Whether a login succeeds, and what the server said."""
        command = [f"{self.lab.tools}/postgresql-18/bin/psql", url, "-qAtXc", "SELECT current_user"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=self.lab.environment)
        return done.returncode == 0, (done.stdout + done.stderr).strip()

    def provision(self):
        lab, connect = self.lab, f"host={self.folder} user=postgres"
        manifest, policy = f"{self.folder}/databases.toml", f"{self.folder}/hba.toml"
        done, said = self.ask("pg-ensure", "apply", manifest, "--connect", connect)
        same, difference = self.ask("pg-ensure", "check", manifest, "--connect", connect)
        lab.fact("pg-ensure makes the databases, and finds nothing to change then", (done, same) == (0, 0), compared=False)
        if (done, same) != (0, 0):
            raise RuntimeError(f"pg-ensure: {said}{difference}")
        done, said = self.ask("pg-hba", "install", "--policy", policy, "--connect", connect)
        if done != 0:
            raise RuntimeError(f"pg-hba: {said}")
        own = [self.logs_in(self.url(name))[0] for name in DATABASES]
        wrong = self.logs_in(self.url("miniflux", "wrong"))[1]
        socket = f"host={self.folder} user=miniflux password={self.passwords['miniflux']} dbname="
        own.append(self.logs_in(f"{socket}miniflux")[0])
        foreign = self.logs_in(f"{socket}synapse")[1]
        ok = all(own) and "password authentication failed" in wrong and "rejects connection" in foreign
        name = "pg-hba lets each application in by its password, and over the socket into its own database alone"
        lab.fact(name, ok, "" if ok else f"{own}, {wrong}, {foreign}", compared=False)


def of(lab):
    """Returns the server of the lab, which is started for the first application that needs it."""
    if lab.postgres is None:
        lab.postgres = Postgres(lab)
    return lab.postgres
