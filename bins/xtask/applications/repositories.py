"""git over HTTP, a limit of uploads, an npm registry and a registry of container images."""

import gzip
import hashlib
import http.server
import json
import os
import shutil
import threading

import lab as labs


def git(lab):
    """git-http-backend behind nginx: a push of many bytes, which git sends chunked, and a clone."""
    nginx = lab.path("git-nginx.conf")
    repositories, sock = lab.path("repositories"), lab.path("fcgi.sock")
    os.makedirs(repositories)
    with open(nginx, "w") as file:
        file.write(
            f"""daemon off; pid {lab.path('git-nginx.pid')}; error_log stderr;
events {{}}
http {{
    access_log off; client_max_body_size 0;
    client_body_temp_path {lab.path('nginx-body')}; fastcgi_temp_path {lab.path('nginx-fcgi')};
    proxy_temp_path {lab.path('nginx-proxy')}; scgi_temp_path {lab.path('nginx-scgi')}; uwsgi_temp_path {lab.path('nginx-uwsgi')};
    server {{
        listen 127.0.0.1:3001;
        location / {{
            fastcgi_pass unix:{sock};
            fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
            fastcgi_param GIT_PROJECT_ROOT {repositories};
            fastcgi_param GIT_HTTP_EXPORT_ALL "";
            fastcgi_param REMOTE_USER ann;
            fastcgi_param PATH_INFO $uri;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
        }}
    }}
}}
"""
        )
    user = ["-s", f"unix:{sock}"]
    lab.start("fcgiwrap", ["/usr/sbin/fcgiwrap", "-f", *user])
    lab.start("git-nginx", ["/usr/sbin/nginx", "-g", "user root;", "-c", nginx], 3001)
    # As Forgejo's documentation has it.
    nginx = f"location / {{ client_max_body_size 512M; {labs.USUAL} {labs.SWITCHES} proxy_pass http://127.0.0.1:3001; }}"
    lab.site("git", 3001, nginx=nginx)

    def drive(host):
        size = 5 if lab.quick else 50
        repository = f"big-{lab.through}.git"
        lab.run(["git", "init", "-q", "--bare", f"{repositories}/{repository}"])
        lab.run(["git", "-C", f"{repositories}/{repository}", "config", "http.receivepack", "true"])
        work = lab.work("work")
        lab.run(["git", "init", "-q", "-b", "main", work])
        content = os.urandom(size * 1024 * 1024)
        with open(f"{work}/big", "wb") as file:
            file.write(content)
        author = ["-c", "user.name=Ann", "-c", "user.email=ann@home.test"]
        lab.run(["git", "-C", work, "add", "big"])
        lab.run(["git", "-C", work, *author, "commit", "-qm", "big"])
        environment = {"GIT_SSL_CAINFO": lab.ca}
        for version in ["HTTP/1.1", "HTTP/2"]:
            branch = version.replace("/", "-").replace(".", "-")
            options = ["-c", f"http.version={version}"]
            push = ["git", "-C", work, *options, "push", "-q", f"https://{host}/{repository}", f"main:{branch}"]
            lab.run(push, environment=environment)
            clone = lab.work(f"clone-{branch}")
            get = ["git", *options, "clone", "-q", "-b", branch, f"https://{host}/{repository}", clone]
            lab.run(get, environment=environment)
            with open(f"{clone}/big", "rb") as file:
                same = file.read() == content
            lab.fact(f"git pushes and clones {size} MB over {version}", same)

    return drive


# Writes everything at once, and counts the answers.
NODE = """
const [url, file, ca, rounds] = process.argv.slice(1);
const content = require("fs").readFileSync(file), authority = require("fs").readFileSync(ca);
const one = () => new Promise(done => {
  const request = require("https").request(url, { method: "PUT", ca: authority, agent: false });
  request.on("response", response => { response.resume(); done(response.statusCode); });
  request.on("error", error => done(error.code));
  request.end(content);
});
(async () => { for (let round = 0; round < rounds; round++) console.log(await one()); })();
"""


def limit(lab):
    """A limit of uploads: clients that write before they read are told 413, curl and git of this distribution among them."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 3015), Refs)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    nginx = f"location / {{ client_max_body_size 1m; {labs.USUAL} proxy_pass http://127.0.0.1:3015; }}"
    lab.site("limit", 3015, edge='body_limit = "1MiB"', nginx=nginx)

    def drive(host):
        work, content = lab.work("limited"), lab.work("above-the-limit")
        lab.run(["git", "init", "-q", "-b", "main", work])
        with open(content, "wb") as file:
            file.write(os.urandom(5 * 1024 * 1024))
        shutil.copy(content, f"{work}/big")
        author = ["-c", "user.name=Ann", "-c", "user.email=ann@home.test"]
        lab.run(["git", "-C", work, "add", "big"])
        lab.run(["git", "-C", work, *author, "commit", "-qm", "big"])
        rounds = 5 if lab.quick else 15
        for version in ["--http1.1", "--http2"]:
            curl = ["/usr/bin/curl", "-sS", version, "--cacert", lab.ca, "--max-time", "30", "-o", "/dev/null"]
            curl += ["-w", "%{http_code}", "-T", content, f"https://{host}/upload"]
            told = [done.stdout for done in (lab.attempt(curl) for _ in range(rounds))]
            lab.fact(f"curl is told 413 ({version})", told == ["413"] * rounds, f"{told.count('413')} of {rounds}")
        node = ["node", "-e", NODE, f"https://{host}/upload", content, lab.ca, str(rounds)]
        told = lab.attempt(node).stdout.split()
        lab.fact("Node.js is told 413", told == ["413"] * rounds, f"{told.count('413')} of {rounds} {set(told)}")
        for version in ["HTTP/1.1", "HTTP/2"]:
            push = ["/usr/bin/git", "-C", work, "-c", f"http.version={version}", "push", f"https://{host}/limited.git", "main"]
            said = lab.attempt(push, {"GIT_SSL_CAINFO": lab.ca}).stderr
            lab.fact(f"git is told 413 over {version}", "413" in said, "" if "413" in said else said[-200:])

    return drive


class Refs(http.server.BaseHTTPRequestHandler):
    """An empty repository that may be pushed to: what git asks for before it sends anything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        capabilities = "report-status delete-refs agent=t"
        first = f"{'0' * 40} capabilities^{{}}\0{capabilities}\n"
        lines = ["# service=git-receive-pack\n", None, first, None]
        text = "".join("0000" if line is None else f"{len(line) + 4:04x}{line}" for line in lines).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-receive-pack-advertisement")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self):
        """Takes whatever comes. git asks with an empty request first, and sends a long one in chunks."""
        left = int(self.headers.get("Content-Length", 0))
        self.rfile.read(left)
        while "Transfer-Encoding" in self.headers:
            line = self.rfile.readline()
            if not line:
                # The proxy has broken it off.
                self.close_connection = True
                return
            self.rfile.read(int(line, 16) + 2)
            if int(line, 16) == 0:
                break
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-receive-pack-result")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def verdaccio(lab):
    """verdaccio: a scoped package, published and installed by npm."""
    folder = os.path.join(lab.tools, "node-applications/node_modules/verdaccio/bin/verdaccio")
    config = lab.path("verdaccio.yaml")
    with open(config, "w") as file:
        file.write(
            f"""storage: {lab.path('verdaccio')}
auth:
  htpasswd:
    file: {lab.path('verdaccio-users')}
packages:
  "**":
    access: $all
    publish: $authenticated
max_body_size: 100mb
log: {{ type: stdout, format: pretty, level: warn }}
"""
        )
    lab.start("verdaccio", ["node", folder, "--config", config, "--listen", "127.0.0.1:3002"], 3002)
    # As verdaccio's documentation has it, with a limit for the package.
    nginx = f"location / {{ client_max_body_size 100m; {labs.USUAL} proxy_set_header X-NginX-Proxy true; proxy_redirect off; proxy_pass http://127.0.0.1:3002; }}"
    lab.site("npm", 3002, nginx=nginx)

    def drive(host):
        registry = f"https://{host}/"
        environment = {"npm_config_cafile": lab.ca, "npm_config_registry": registry, "npm_config_audit": "false"}
        environment.update({"npm_config_update_notifier": "false", "npm_config_fund": "false"})
        user = {"name": f"ann-{lab.through}", "password": "a long password", "email": "ann@home.test", "type": "user", "roles": []}
        said = lab.run(
            ["curl", "-sS", "--cacert", lab.ca, "-X", "PUT", "-H", "Content-Type: application/json"]
            + ["-d", json.dumps(user), f"{registry}-/user/org.couchdb.user:ann-{lab.through}"]
        )
        with open(lab.path(".npmrc"), "w") as file:
            file.write(f"//{host}/:_authToken={json.loads(said)['token']}\n")
        package = lab.work("package")
        os.makedirs(package)
        content = os.urandom((2 if lab.quick else 20) * 1024 * 1024)
        with open(f"{package}/package.json", "w") as file:
            json.dump({"name": f"@{lab.through}/pkg", "version": "1.0.0"}, file)
        with open(f"{package}/blob", "wb") as file:
            file.write(content)
        lab.run(["npm", "publish", "--access", "public"], 180, environment, package)
        use = lab.work("use")
        os.makedirs(use)
        lab.run(["npm", "install", "--no-package-lock", f"@{lab.through}/pkg@1.0.0"], 180, environment, use)
        with open(f"{use}/node_modules/@{lab.through}/pkg/blob", "rb") as file:
            same = file.read() == content
        lab.fact("npm publishes and installs a scoped package (a path with %2f)", same)

    return drive


def images(lab):
    """docker-registry: an image, pushed and pulled by skopeo."""
    config = lab.path("registry.yml")
    with open(config, "w") as file:
        file.write(
            f"version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: {lab.path('registry')} }} }}\n"
            f"http: {{ addr: 127.0.0.1:3003, secret: a }}\n"
        )
    lab.start("registry", ["docker-registry", "serve", config], 3003)
    # As the registry's documentation has it.
    nginx = f"location / {{ client_max_body_size 0; chunked_transfer_encoding on; {labs.USUAL} proxy_read_timeout 900; proxy_pass http://127.0.0.1:3003; }}"
    lab.site("registry", 3003, nginx=nginx)

    def drive(host):
        image = lab.work("image")
        blobs = f"{image}/blobs/sha256"
        os.makedirs(blobs)

        def blob(content, media):
            digest = hashlib.sha256(content).hexdigest()
            with open(f"{blobs}/{digest}", "wb") as file:
                file.write(content)
            return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

        kind = "application/vnd.oci.image"
        content = os.urandom((5 if lab.quick else 50) * 1024 * 1024)
        layer = blob(gzip.compress(content, 1), f"{kind}.layer.v1.tar+gzip")
        settings = {"architecture": "amd64", "os": "linux", "config": {}}
        diff = "sha256:" + hashlib.sha256(content).hexdigest()
        settings["rootfs"] = {"type": "layers", "diff_ids": [diff]}
        config = blob(json.dumps(settings).encode(), f"{kind}.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "config": config, "layers": [layer]}
        index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")]}
        with open(f"{image}/index.json", "w") as file:
            json.dump(index, file)
        with open(f"{image}/oci-layout", "w") as file:
            json.dump({"imageLayoutVersion": "1.0.0"}, file)
        certificates = lab.work("registry-ca")
        os.makedirs(certificates)
        with open(lab.ca) as source, open(f"{certificates}/ca.crt", "w") as file:
            file.write(source.read())
        # Signatures are looked for in a folder of the test: the system's may belong to another account.
        registries = lab.work("registries")
        os.makedirs(registries)
        with open(f"{registries}/default.yaml", "w") as file:
            file.write(f"default-docker:\n  lookaside: file://{lab.work('signatures')}\n")
        options = ["--insecure-policy", "--tmpdir", lab.folder, "--registries.d", registries]
        copy = ["skopeo", *options, "copy", "-q"]
        remote = f"docker://{host}/team/image:1"
        lab.run([*copy, "--dest-cert-dir", certificates, f"oci:{image}", remote], 180)
        lab.run([*copy, "--src-cert-dir", certificates, remote, f"oci:{lab.work('pulled')}"], 180)
        with open(f"{lab.work('pulled')}/blobs/sha256/{layer['digest'][7:]}", "rb") as file:
            same = hashlib.sha256(file.read()).hexdigest() == layer["digest"][7:]
        lab.fact("skopeo pushes and pulls an image", same)

    return drive
