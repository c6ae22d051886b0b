//! Measures, on request, what packets and questions cost: `./dev bench network`. The same veths and
//! bridge, made by hand in the same run, are what Hull is compared with.
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]
#![expect(clippy::print_stdout, reason = "it is asked for its figures")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use hull_network::{
    Config, EndpointRequest, NameService, Network, Networks, PortRequest, Protocol,
    ResolverProgram, Sandbox,
};
use hull_sys::netlink::namespace;

const ROUND: Duration = Duration::from_millis(400);
const ROUNDS: usize = 9;

fn ip(line: &str) {
    let words = line.split(' ');
    let output = Command::new("ip").args(words).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {line}: {error}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Answers one request a connection.
fn serve(at: BorrowedFd<'_>, port: u16) {
    let listener = namespace::enter(at, || TcpListener::bind(("0.0.0.0", port))).unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 64];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello\n");
        }
    });
}

/// Requests a second from one namespace to an address.
fn rate(from: BorrowedFd<'_>, to: SocketAddr) -> f64 {
    namespace::enter(from, || {
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < ROUND {
            let mut stream = TcpStream::connect(to)?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            count += 1;
        }
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    })
    .unwrap()
}

/// A namespace on a bridge `br0` of the caller's, all by hand.
fn by_hand(number: u8) -> OwnedFd {
    let (made, ()) = namespace::create(|| Ok(())).unwrap();
    ip(&format!(
        "link add v{number} type veth peer name e0 netns /proc/{}/fd/{}",
        std::process::id(),
        made.as_raw_fd()
    ));
    ip(&format!("link set v{number} master br0 up"));
    namespace::enter(made.as_fd(), || {
        ip("link set lo up");
        ip(&format!("addr add 10.77.0.{number}/24 dev e0"));
        ip("link set e0 up");
        Ok(())
    })
    .unwrap();
    made
}

fn on_a_host<T: Send>(work: impl FnOnce(OwnedFd) -> T + Send) -> T {
    namespace::create(|| {
        ip("link set lo up");
        Ok(work(namespace::current()?))
    })
    .unwrap()
    .1
}

fn open(resolver: Option<ResolverProgram>) -> Networks {
    let config = Config {
        resolver,
        ..Config::default()
    };
    let networks = Networks::open(config, &[]).unwrap();
    networks.restore(Vec::new()).unwrap();
    networks
}

fn join(
    networks: &Networks,
    sandbox: &Sandbox,
    network: &str,
    name: &str,
) -> hull_network::Endpoint {
    let request = EndpointRequest {
        container_id: name.to_owned(),
        container_name: name.to_owned(),
        names: vec![name.to_owned()],
        ..EndpointRequest::default()
    };
    networks
        .connect(sandbox.as_fd(), network, &request)
        .unwrap()
}

/// Two namespaces on a bridge of the caller's, the first of them a server.
fn bridge_by_hand() -> (OwnedFd, OwnedFd) {
    ip("link add br0 type bridge");
    ip("addr add 10.77.0.1/24 dev br0");
    ip("link set br0 up");
    let (server, client) = (by_hand(2), by_hand(3));
    serve(server.as_fd(), 80);
    (server, client)
}

/// What a bridge by hand needs so that its containers reach the world: with it, the kernel keeps a
/// record of every connection.
fn masquerade() {
    let rule = "add table ip byhand; add chain ip byhand out { type nat hook postrouting priority 100; }; \
                add rule ip byhand out ip saddr 10.77.0.0/24 oifname != br0 masquerade";
    let made = Command::new("nft").arg(rule).status().unwrap();
    assert!(made.success());
}

#[test]
#[ignore = "a measurement: ./dev bench network"]
fn requests_a_second() {
    on_a_host(|plain| {
        let (_kept, neighbour) = bridge_by_hand();
        on_a_host(|translating| {
            let (_kept, translated) = bridge_by_hand();
            masquerade();
            on_a_host(|host| {
                let networks = open(None);
                // A server for each way: a connection through the published port would meet what
                // the server still remembers of a direct one from the same port, and wait.
                let [web, shop, client] = [(); 3].map(|()| networks.sandbox().unwrap());
                let endpoint = join(&networks, &web, "bridge", "web");
                let sold = join(&networks, &shop, "bridge", "shop");
                join(&networks, &client, "bridge", "client");
                let port = PortRequest {
                    container_port: 80,
                    protocol: Protocol::Tcp,
                    host_ip: None,
                    host_ports: Some((8080, 8080)),
                };
                networks.publish(&sold, &[port]).unwrap();
                serve(web.as_fd(), 80);
                serve(shop.as_fd(), 80);
                let inside = SocketAddr::new(endpoint.ipv4.unwrap().addr().into(), 80);
                let by_hand: SocketAddr = "10.77.0.2:80".parse().unwrap();
                let published = "127.0.0.1:8080".parse().unwrap();
                let ways: [(&str, BorrowedFd<'_>, SocketAddr); 7] = [
                    ("by hand, host to container", plain.as_fd(), by_hand),
                    ("by hand, neighbours", neighbour.as_fd(), by_hand),
                    (
                        "… masquerading, host to container",
                        translating.as_fd(),
                        by_hand,
                    ),
                    ("… masquerading, neighbours", translated.as_fd(), by_hand),
                    ("Hull, host to container", host.as_fd(), inside),
                    ("Hull, neighbours", client.as_fd(), inside),
                    ("Hull, host to published port", host.as_fd(), published),
                ];
                let mut rates = vec![Vec::new(); ways.len()];
                for _ in 0..ROUNDS {
                    for (rates, (_, from, to)) in rates.iter_mut().zip(&ways) {
                        rates.push(rate(*from, *to));
                    }
                }
                let medians: Vec<_> = rates.into_iter().map(median).collect();
                for ((name, ..), rate) in ways.iter().zip(&medians) {
                    println!("{name:36} {rate:8.0} requests/s");
                }
                for (what, above, below) in [
                    ("host to container, to by hand", 4, 0),
                    ("… to by hand, masquerading", 4, 2),
                    ("neighbours, to by hand", 5, 1),
                    ("… to by hand, masquerading", 5, 3),
                    ("published, to direct", 6, 4),
                ] {
                    println!("{what:36} {:8.3}", medians[above] / medians[below]);
                }
            });
        });
    });
}

#[test]
#[ignore = "a measurement: ./dev bench network"]
fn what_networks_cost() {
    on_a_host(|_| {
        let networks = open(None);
        let wanted = |name: String| Network {
            name,
            enable_ipv4: true,
            ..Network::default()
        };
        let mut times: [Vec<f64>; 4] = Default::default();
        for number in 0..25 {
            let name = format!("n{number}");
            let sandbox = networks.sandbox().unwrap();
            let mut lap = Instant::now();
            let mut take = |index: usize| {
                times[index].push(lap.elapsed().as_secs_f64() * 1e3);
                lap = Instant::now();
            };
            networks.create(wanted(name.clone())).unwrap();
            take(0);
            let endpoint = join(&networks, &sandbox, &name, &name);
            take(1);
            networks.detach(sandbox.as_fd(), &endpoint).unwrap();
            take(2);
            networks.remove(&name).unwrap();
            take(3);
            // What was taken away goes in the background.
            thread::sleep(Duration::from_millis(150));
        }
        for (name, times) in ["create", "connect", "disconnect", "rm"].iter().zip(times) {
            println!("network {name:12} {:8.2} ms", median(times));
        }
        adding_one_more(&networks);
    });
}

/// The first endpoints and ports beside the thousandth.
fn adding_one_more(networks: &Networks) {
    let mut kept = Vec::new();
    let mut times = Vec::new();
    for number in 0..1000_u16 {
        let sandbox = networks.sandbox().unwrap();
        let start = Instant::now();
        let endpoint = join(networks, &sandbox, "bridge", &format!("c{number}"));
        let port = PortRequest {
            container_port: 80,
            protocol: Protocol::Tcp,
            host_ip: None,
            host_ports: Some((10000 + number, 10000 + number)),
        };
        networks.publish(&endpoint, &[port]).unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e3);
        kept.push((sandbox, endpoint));
    }
    let (first, last) = (median(times[..50].to_vec()), median(times[950..].to_vec()));
    println!("endpoint and port, the first 50    {first:8.2} ms");
    println!(
        "endpoint and port, the last of 1000{last:8.2} ms, ratio {:.2}",
        last / first
    );
}

#[test]
#[ignore = "a measurement: ./dev bench network"]
fn questions_a_second() {
    let program = std::env::var_os("HULL_PROGRAMS").expect("HULL_PROGRAMS says where they are");
    let directory = tempfile::tempdir().unwrap();
    let resolver = ResolverProgram {
        program: PathBuf::from(program).join("hull-resolver"),
        socket: directory.path().join("resolver.sock"),
    };
    on_a_host(|_| {
        let networks = open(Some(resolver));
        let record = Network {
            name: "front".to_owned(),
            ..networks.find("bridge").unwrap()
        };
        let record = Network {
            id: String::new(),
            options: Default::default(),
            subnets: Vec::new(),
            ..record
        };
        networks.create(record).unwrap();
        let mut kept = Vec::new();
        let mut serve = |name: &str| {
            let sandbox = networks.sandbox().unwrap();
            join(&networks, &sandbox, "front", name);
            let service = NameService {
                container_id: name.to_owned(),
                ..NameService::default()
            };
            let own = sandbox.as_fd().try_clone_to_owned().unwrap();
            networks.serve_names(own, service).unwrap();
            kept.push(sandbox);
        };
        serve("web");
        let pid = resolver_pid();
        let before = memory_kb(pid);
        for number in 0..200 {
            serve(&format!("c{number}"));
        }
        println!(
            "memory of the resolver             {before:8} KB, and {:.1} KB more a container",
            (memory_kb(pid) as f64 - before as f64) / 200.0
        );
        let asked =
            namespace::enter(kept[0].as_fd(), || ask_for(Duration::from_secs(3), pid)).unwrap();
        println!(
            "questions, wall clock              {:8.0} a second",
            asked.0
        );
        println!(
            "questions, by its processor time   {:8.0} a second of one core",
            asked.1
        );
    });
}

/// `web`, an address.
const QUESTION: &[u8] =
    b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01";

fn ask_for(time: Duration, pid: u32) -> std::io::Result<(f64, f64)> {
    const WINDOW: usize = 32;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect("127.0.0.11:53")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (start, busy, mut count) = (Instant::now(), processor_s(pid), 0_u32);
    let mut answer = [0; 512];
    for _ in 0..WINDOW {
        socket.send(QUESTION)?;
    }
    while start.elapsed() < time {
        let length = socket.recv(&mut answer)?;
        assert!(
            answer[..length].ends_with(&[172, 18, 0, 2]),
            "a right answer"
        );
        socket.send(QUESTION)?;
        count += 1;
    }
    let count = f64::from(count);
    Ok((
        count / start.elapsed().as_secs_f64(),
        count / (processor_s(pid) - busy),
    ))
}

fn resolver_pid() -> u32 {
    let own = std::process::id();
    let children = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = children.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut pids = pids;
    pids.find(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(hull-resolver) ") && stat.split(' ').nth(3) == Some(&own.to_string())
    })
    .unwrap()
}

fn memory_kb(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    private
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

fn processor_s(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = text.rsplit(')').next().unwrap();
    let ticks: f64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|t| t.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}
