//! HAProxy with a node's configuration, in front of real API servers that hang or lose their etcd, one or all
//! of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::lab::eventually;
use crate::common::{judge, kubernetes};
use crate::world::{KILN, World};
use crate::{PATIENCE, whole};

/// Time limit for cutting the sessions of a server that hangs or has no etcd: three times the value in the
/// plan, because other tests run in parallel. Without a cut, sessions last as long as the server hangs.
const CUT: Duration = Duration::from_millis(3 * 2200);

/// A client's connection to an API server.
struct Session {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// Index of the server that accepted the connection.
    server: usize,
}

impl Session {
    /// Requests `path` and returns the status code.
    fn get(&mut self, path: &str) -> Result<String, String> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: kubernetes\r\n\r\n")
            .map_err(|err| err.to_string())?;
        let mut answer = Vec::new();
        let mut some = [0; 4096];
        loop {
            let count = self.stream.read(&mut some).map_err(|err| err.to_string())?;
            if count == 0 {
                return Err("the connection ended".into());
            }
            answer.extend_from_slice(&some[..count]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if length.is_none_or(|length: usize| body.len() >= length) {
                return Ok(head.split(' ').nth(1).unwrap().to_owned());
            }
        }
    }

    /// Returns how long the connection lasts, up to a limit.
    fn lasts(mut self, limit: Duration) -> Duration {
        let begin = Instant::now();
        self.stream.sock.set_read_timeout(Some(limit)).unwrap();
        let end = self.stream.read(&mut [0; 16]);
        assert!(!matches!(end, Ok(1..)), "the server sent data");
        begin.elapsed()
    }
}

/// A process that is killed when the test ends.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client that trusts the cluster's CA and identifies the servers by their certificates.
struct Client {
    config: Arc<ClientConfig>,
    servers: Vec<CertificateDer<'static>>,
}

impl Client {
    fn new(world: &World) -> Self {
        let pki = |place: usize, name: &str| -> PathBuf {
            world.members[place].path("etc/kubernetes/pki").join(name)
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pki(0, "ca.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let servers = (0..world.members.len())
            .map(|place| CertificateDer::from_pem_file(pki(place, "apiserver.crt")).unwrap());
        Self { config: Arc::new(config), servers: servers.collect() }
    }

    /// Opens a connection through the balancer and checks that a live server responds.
    fn connect(&self) -> Result<Session, String> {
        let socket = TcpStream::connect("127.0.0.1:8443").map_err(|err| err.to_string())?;
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let connection =
            ClientConnection::new(Arc::clone(&self.config), ServerName::try_from("kubernetes").unwrap())
                .unwrap();
        let mut session = Session { stream: StreamOwned::new(connection, socket), server: usize::MAX };
        let status = session.get("/livez?exclude=etcd")?;
        let seen = &session.stream.conn.peer_certificates().unwrap()[0];
        session.server = self.servers.iter().position(|known| known == seen).unwrap();
        if status == "200" { Ok(session) } else { Err(status) }
    }

    /// Opens many connections and returns how many of them each server got; all must succeed.
    fn spread(&self) -> Vec<usize> {
        let mut counts = vec![0; self.servers.len()];
        let sessions: Vec<Session> = (0..24).map(|_| self.connect().unwrap()).collect();
        sessions.iter().for_each(|session| counts[session.server] += 1);
        counts
    }

    /// Opens connections until one reaches the given server.
    fn connect_to(&self, server: usize) -> Session {
        let mut rest = Vec::new();
        loop {
            let session = self.connect().unwrap();
            if session.server == server {
                return session;
            }
            rest.push(session);
            assert!(rest.len() < 50, "no connection reaches server {server}");
        }
    }
}

/// Returns the status code that the balancer itself returns for `path`.
fn status(path: &str) -> Result<String, String> {
    let mut socket = TcpStream::connect("127.0.0.1:8405").map_err(|err| err.to_string())?;
    write!(socket, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).map_err(|err| err.to_string())?;
    answer.split(' ').nth(1).map(ToOwned::to_owned).ok_or(answer)
}

/// Reads one table of the balancer's statistics, as a list of values by column for each line that begins with
/// `prefix`.
fn statistics(world: &World, prefix: &str) -> Result<Vec<BTreeMap<String, String>>, String> {
    let socket = world.members[0].path("run/haproxy/admin.sock");
    let mut socket = std::os::unix::net::UnixStream::connect(socket).map_err(|err| err.to_string())?;
    socket.write_all(b"show stat\n").unwrap();
    let mut table = String::new();
    socket.read_to_string(&mut table).map_err(|err| err.to_string())?;
    let names: Vec<&str> =
        table.trim_start_matches("# ").lines().next().ok_or("no header")?.split(',').collect();
    let values = |line: &str| {
        let values = line.split(',').map(|value| value.trim_matches('"').to_owned());
        names.iter().map(|name| (*name).to_owned()).zip(values).collect()
    };
    Ok(table.lines().filter(|line| line.starts_with(prefix)).map(values).collect())
}

/// Returns the weight of a server: without weight, it gets no new connections.
fn weight(world: &World, server: &str) -> Result<String, String> {
    let rows = statistics(world, &format!("kube-apiserver,{server},"))?;
    Ok(rows[0]["weight"].clone())
}

/// Waits until the balancer's statistics show the expected states of all servers at once, and the expected
/// check result of each server in that state. While a check runs, the statistics do not contain the previous
/// result; a check that waits for etcd runs most of the time.
fn sees(world: &World, expected: &[(&str, &str)]) {
    let mut said = vec![false; expected.len()];
    eventually("the balancer sees the expected states", PATIENCE, || {
        let seen = statistics(world, "checks,m")?;
        for (place, (server, (wanted, text))) in seen.iter().zip(expected).enumerate() {
            said[place] = server["status"] == *wanted && (said[place] || server["last_chk"].contains(text));
        }
        if seen.len() == expected.len() && said.iter().all(|known| *known) {
            return Ok(());
        }
        let shown =
            seen.iter().map(|server| [&server["status"], &server["last_chk"], &server["check_status"]]);
        Err(format!("{:?}", shown.collect::<Vec<_>>()))
    });
}

/// Starts the VIP guard with the first node's settings, to watch the balancer of this test.
fn guard(world: &World) -> Running {
    let (file, place) = (world.members[0].path("guard.toml"), world.members[0].path("run/kiln-guard"));
    fs::create_dir_all(&place).unwrap();
    let settings =
        world.members[0].text("etc/kiln/guard.toml").replace("/run/kiln-guard", place.to_str().unwrap());
    fs::write(&file, settings).unwrap();
    Running(world.hub.command(KILN).args(["agent", "guard", "--settings"]).arg(file).spawn().unwrap())
}

/// Waits until the guard's verdict for keepalived is `verdict`: 0 if the machine may hold the VIP.
fn is_judged(world: &World, verdict: &str) {
    eventually(&format!("the verdict is {verdict}"), PATIENCE, || {
        let now = fs::read_to_string(world.members[0].path("run/kiln-guard/verdict"))
            .map_err(|err| err.to_string())?;
        if now.trim() == verdict { Ok(()) } else { Err(now) }
    });
}

/// Checks that a session ends within the limit.
fn is_cut(session: Session) {
    let lasted = session.lasts(2 * CUT);
    #[expect(clippy::print_stderr, reason = "the margin below the limit is worth a look")]
    {
        eprintln!("cut after {lasted:?}");
    }
    assert!(lasted <= CUT, "{lasted:?}");
}

/// HAProxy on the hub, with the first two members' API servers behind it. The third member has no API server:
/// the machine is up but refuses connections.
struct Balanced {
    // Fields are dropped in this order.
    client: Client,
    _guard: Running,
    haproxy: Running,
    api_servers: Vec<Running>,
    world: World,
}

impl Balanced {
    /// Starts everything, and moves this thread into the hub's network namespace.
    fn new(mut world: World, programs: &Path) -> Self {
        world.on(&[0, 1, 2]);
        whole(&world);
        let api_servers: Vec<Running> = (0..2)
            .map(|place| {
                Running(world.members[place].api_server(&programs.join("kube-apiserver")).spawn().unwrap())
            })
            .collect();
        world.hub.ip("link set lo up");
        move_into_link_name_space(
            File::open(world.hub.file()).unwrap().as_fd(),
            Some(LinkNameSpaceType::Network),
        )
        .unwrap();
        let haproxy = haproxy(&world);
        let guard = guard(&world);
        let client = Client::new(&world);
        Self { client, _guard: guard, haproxy, api_servers, world }
    }

    fn a_server_that_hangs_loses_its_sessions(&self) {
        let session = self.client.connect_to(0);
        self.api_servers[0].signal(Signal::STOP);
        is_cut(session);
        assert_eq!(self.client.spread(), [0, 24, 0]);
        self.api_servers[0].signal(Signal::CONT);
        sees(&self.world, &[("UP", ""), ("UP", ""), ("DOWN", "")]);
    }

    /// Stops etcd on m1.
    fn a_server_without_etcd_loses_its_sessions_and_gets_no_new_ones(&self) {
        let session = self.client.connect_to(0);
        self.world.members[0].signal_etcd(Signal::STOP);
        is_cut(session);
        sees(&self.world, &[("NOLB", "etcd"), ("UP", ""), ("DOWN", "")]);
        assert_eq!(self.client.spread(), [0, 24, 0]);
        assert_eq!(status("/readyz").as_deref(), Ok("200"));
        is_judged(&self.world, "0");
    }

    /// Continues etcd on m1: its API server is ready at once, but may not stay so.
    fn a_server_whose_etcd_is_back_waits_for_new_connections(&self) {
        self.world.members[0].signal_etcd(Signal::CONT);
        sees(&self.world, &[("UP", ""), ("UP", ""), ("DOWN", "")]);
        assert_eq!(weight(&self.world, "m1").as_deref(), Ok("0"));
        eventually("m1 gets new connections", PATIENCE, || {
            let weight = weight(&self.world, "m1")?;
            if weight == "1" { Ok(()) } else { Err(weight) }
        });
        assert!(self.client.spread()[0] > 0);
        self.world.members[0].signal_etcd(Signal::STOP);
        sees(&self.world, &[("NOLB", "etcd"), ("UP", ""), ("DOWN", "")]);
    }

    /// Stops etcd on m2 as well: one member of three has no quorum. Every API server that is up gets
    /// connections, and sessions continue, except on a server that hangs. Lets both members continue in the
    /// end.
    fn servers_are_used_when_all_are_without_etcd(&self) {
        let Self { client, api_servers, world, .. } = self;
        let mut other = client.connect_to(1);
        world.members[1].signal_etcd(Signal::STOP);
        sees(world, &[("NOLB", "etcd"), ("NOLB", "etcd"), ("DOWN", "")]);
        let spread = client.spread();
        assert!(spread[0] > 0 && spread[1] > 0, "{spread:?}");
        assert_eq!((status("/healthz").as_deref(), status("/readyz").as_deref()), (Ok("200"), Ok("503")));
        is_judged(world, "0");
        let mut session = client.connect_to(0);
        let session_of_hung = client.connect_to(1);
        api_servers[1].signal(Signal::STOP);
        is_cut(session_of_hung);
        assert_eq!(client.spread(), [24, 0, 0]);
        api_servers[1].signal(Signal::CONT);
        sees(world, &[("NOLB", "etcd"), ("NOLB", "etcd"), ("DOWN", "")]);
        assert_eq!(session.get("/livez?exclude=etcd").as_deref(), Ok("200"));
        assert!(other.get("/livez?exclude=etcd").is_err(), "a session of the server that hung survived");

        (0..2).for_each(|place| world.members[place].signal_etcd(Signal::CONT));
        sees(world, &[("UP", ""), ("UP", ""), ("DOWN", "")]);
        assert_eq!(status("/readyz").as_deref(), Ok("200"));
    }

    /// Stops the balancer, then cuts the machine off from all others.
    fn the_guard_gives_up_the_vip_without_a_balancer_and_without_a_network(&self) {
        self.haproxy.signal(Signal::STOP);
        is_judged(&self.world, "1");
        self.haproxy.signal(Signal::CONT);
        is_judged(&self.world, "0");
        self.world.hub.ip("link set br0 down");
        sees(&self.world, &[("DOWN", ""), ("DOWN", ""), ("DOWN", "")]);
        is_judged(&self.world, "1");
    }
}

/// Starts HAProxy on the hub with the first node's configuration.
fn haproxy(world: &World) -> Running {
    let (file, sessions) =
        (world.members[0].path("haproxy.cfg"), world.members[0].path("etc/haproxy/sessions.lua"));
    let configuration = world.members[0].text("etc/haproxy/haproxy.cfg");
    fs::write(&file, configuration.replace("/etc/haproxy/sessions.lua", sessions.to_str().unwrap())).unwrap();
    fs::create_dir_all(world.members[0].path("run/haproxy")).unwrap();
    let log = File::create(world.members[0].path("haproxy.log")).unwrap();
    let mut haproxy = world.hub.command("haproxy");
    haproxy.args(["-db", "-f"]).arg(&file).stdout(log.try_clone().unwrap()).stderr(log);
    Running(haproxy.spawn().unwrap())
}

#[test]
fn a_server_that_hangs_loses_its_sessions_and_one_without_etcd_new_ones_unless_all_are_without() {
    let (Some(world), Some(programs), Some(_)) = (World::new(3), kubernetes(), judge("haproxy")) else {
        return;
    };
    let balanced = Balanced::new(world, &programs);
    sees(&balanced.world, &[("UP", ""), ("UP", ""), ("DOWN", "")]);
    assert_eq!(balanced.client.spread()[2], 0);
    balanced.a_server_that_hangs_loses_its_sessions();
    balanced.a_server_without_etcd_loses_its_sessions_and_gets_no_new_ones();
    balanced.a_server_whose_etcd_is_back_waits_for_new_connections();
    balanced.servers_are_used_when_all_are_without_etcd();
    balanced.the_guard_gives_up_the_vip_without_a_balancer_and_without_a_network();
}
