# SPDX-License-Identifier: Apache-2.0
"""Who takes part: how each proxy is configured and started. One function per proxy; each writes
its files into a directory of its own and returns the command."""

from pathlib import Path

NOFILE = 20000
CONNECTIONS = 9800  # what HAProxy can hold within NOFILE
PIPES = 64  # what HAProxy may splice through
HOST = "127.0.0.1"


def lb(mode, engine="auto"):
    def make(setup):
        listeners, pools = "", ""
        for name, port, backends in setup.services:
            listeners += f'  - {{name: {name}, bind: "{HOST}:{port}", mode: {mode}, pool: {name}}}\n'
            listed = ", ".join(f'"{HOST}:{backend}"' for backend in backends)
            pools += f"  - {{name: {name}, balance: least_connections, backends: [{listed}]}}\n"
        return [setup.lb, "-c", setup.write("lb.yaml", f"""\
workers: {setup.threads}
engine: {engine}
log: {{level: warn}}
admin: {{socket: {setup.dir}/admin.sock}}
listeners:
{listeners}
pools:
{pools}""")]
    return make


def haproxy(mode, splice=False, bufsize=16384):
    def make(setup):
        services = "".join(f"""\
frontend {name}
    bind {HOST}:{port} shards by-thread backlog 4096
    default_backend {name}
backend {name}
    balance leastconn
""" + "".join(f"    server b{backend} {HOST}:{backend}\n" for backend in backends)
                           for name, port, backends in setup.services)
        return ["haproxy", "-db", "-f", setup.write("haproxy.cfg", f"""\
global
    nbthread {setup.threads}
    maxconn {CONNECTIONS}
    maxpipes {PIPES if splice else 0}
    tune.bufsize {bufsize}
defaults
    mode {mode}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    {"option splice-auto" if splice else ""}
{services}""")]
    return make


NGINX = """\
worker_processes {threads};
worker_rlimit_nofile {nofile};
pid {dir}/nginx.pid;
error_log stderr warn;
daemon off;
{modules}
events {{
    worker_connections {nofile};
    use epoll;
    multi_accept on;
    accept_mutex off;
}}
{block} {{
    access_log off;
{more}
{services}
}}
"""

NGINX_SERVICE = """\
    upstream {name} {{
        zone {name} 256k;
        least_conn;
{servers}
    }}
    server {{
        listen {host}:{port} reuseport backlog=4096;
{server}
    }}
"""

NGINX_TCP = """\
        proxy_pass {name};
        proxy_timeout 1h;
        proxy_buffer_size {bufsize};
        tcp_nodelay on;
"""

NGINX_HTTP = """\
        location / {{
            proxy_pass http://{name};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
            proxy_buffer_size {bufsize};
            proxy_buffers 8 {bufsize};
            proxy_busy_buffers_size {bufsize};
            tcp_nodelay on;
        }}
"""

STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


def nginx(mode, bufsize=None):
    """Without `bufsize`: nginx's own sizes, 16 KiB in mode tcp and 4 KiB in mode http."""
    def make(setup):
        is_tcp = mode == "tcp"
        size = bufsize or ("16k" if is_tcp else "4k")
        temp = "".join(f"    {kind}_temp_path {setup.dir}/{kind};\n"
                       for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        server = NGINX_TCP if is_tcp else NGINX_HTTP
        services = "".join(NGINX_SERVICE.format(
            name=name, host=HOST, port=port, server=server.format(name=name, bufsize=size),
            servers="\n".join(f"        server {HOST}:{backend};" for backend in backends))
                           for name, port, backends in setup.services)
        text = NGINX.format(
            threads=setup.threads, nofile=NOFILE, dir=setup.dir, services=services,
            modules=f"load_module {STREAM_MODULE};" if is_tcp else "",
            block="stream" if is_tcp else "http",
            more="" if is_tcp else temp)
        return ["nginx", "-e", "stderr", "-c", setup.write("nginx.conf", text)]
    return make


def bare(size, count):
    def make(setup):
        (_, port, backends), = setup.services
        return [setup.build / "tests/bench/lb-floor", port, setup.threads, size, count,
                *(f"{HOST}:{backend}" for backend in backends)]
    return make


# None: no proxy, the clients talk to the first backend themselves.
CONTESTANTS = {
    "direct": None,
    "bare": bare(4096, 512),
    "bare-256k": bare(256 << 10, 64),
    "haproxy-tcp": haproxy("tcp"),
    "haproxy-http": haproxy("http"),
    "haproxy-splice": haproxy("tcp", splice=True),
    "haproxy-tcp-64k": haproxy("tcp", bufsize=64 << 10),
    "nginx-tcp": nginx("tcp"),
    "nginx-http": nginx("http"),
    "nginx-tcp-64k": nginx("tcp", "64k"),
    "nginx-http-64k": nginx("http", "64k"),
    "lb-tcp": lb("tcp"),
    "lb-http": lb("http"),
    "lb-http-epoll": lb("http", "epoll"),
}


def is_peer(name):
    """A peer of lb: somebody else's proxy."""
    return name.startswith(("haproxy", "nginx"))


class Setup:
    """What a proxy is for: services of a name, a port to listen on, and ports of backends; and a
    directory for its files. `lb`: the program that is measured as lb."""

    def __init__(self, directory, build, lb_program, threads, services):
        self.dir, self.build, self.threads = Path(directory), Path(build), threads
        self.lb, self.services = lb_program, services

    def write(self, name, text):
        path = self.dir / name
        path.write_text(text)
        return path
