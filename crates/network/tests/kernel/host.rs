//! A host of its own for each test: a fresh network namespace, joined to a second one that plays the
//! outside world; containers on it, and servers and clients in them.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::Command,
    time::{Duration, Instant},
};

use hull_network::{
    Config, Endpoint, EndpointRequest, Network, Networks, PortRequest, Protocol, Sandbox,
};
use hull_sys::netlink::namespace;

pub(crate) const HOST: &str = "192.0.2.2";
pub(crate) const OUTSIDE: &str = "192.0.2.9";
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Runs `test` on a host of its own.
pub(crate) fn on_a_host<T: Send>(test: impl FnOnce(&Outside) -> T + Send) -> T {
    let (outside, ()) = namespace::create(|| {
        ip("link set lo up");
        Ok(())
    })
    .unwrap();
    let (_host, result) = namespace::create(|| {
        ip("link set lo up");
        ip("link add up0 type veth peer name out0");
        ip(&format!("addr add {HOST}/24 dev up0"));
        ip("link set up0 up");
        let path = format!("/proc/{}/fd/{}", std::process::id(), raw(&outside));
        ip(&format!("link set out0 netns {path}"));
        namespace::enter(outside.as_fd(), || {
            ip(&format!("addr add {OUTSIDE}/24 dev out0"));
            ip("link set out0 up");
            Ok(())
        })?;
        Ok(test(&Outside(outside)))
    })
    .unwrap();
    result
}

pub(crate) struct Outside(pub(crate) OwnedFd);

pub(crate) fn raw(fd: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd;
    fd.as_raw_fd()
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn ip(arguments: &str) -> String {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}

pub(crate) fn nft(arguments: &str) -> String {
    run("nft", &arguments.split(' ').collect::<Vec<_>>())
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn open() -> Networks {
    let networks = Networks::open(Config::default(), &[]).unwrap();
    assert_eq!(networks.restore(Vec::new()).unwrap(), Vec::<String>::new());
    networks
}

pub(crate) struct Container {
    pub(crate) sandbox: Sandbox,
    pub(crate) endpoint: Endpoint,
}

pub(crate) fn container(networks: &Networks, name: &str) -> Container {
    container_in(networks, "bridge", name)
}

pub(crate) fn container_in(networks: &Networks, network: &str, name: &str) -> Container {
    let sandbox = networks.sandbox().unwrap();
    let request = EndpointRequest {
        container_id: format!("{name}-id"),
        container_name: name.to_owned(),
        ..Default::default()
    };
    let endpoint = networks
        .connect(sandbox.as_fd(), network, &request)
        .unwrap();
    Container { sandbox, endpoint }
}

pub(crate) fn address(container: &Container) -> IpAddr {
    container.endpoint.ipv4.unwrap().addr().into()
}

/// A server that tells each client the address it comes from.
pub(crate) fn serve(at: BorrowedFd<'_>, port: u16) {
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    serve_on(at, any);
}

pub(crate) fn serve_on(at: BorrowedFd<'_>, address: SocketAddr) {
    let listener = namespace::enter(at, || TcpListener::bind(address)).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = write!(stream, "{}", peer.ip().to_canonical());
        }
    });
}

/// What a server says to a client in `from`.
pub(crate) fn ask(from: BorrowedFd<'_>, address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    namespace::enter(from, || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })
}

/// The same after a change of links, when the first packets may be lost.
pub(crate) fn ask_again(from: BorrowedFd<'_>, address: &str) -> io::Result<String> {
    let tries = (0..10).map(|_| ask(from, address));
    let mut last = None;
    for answer in tries {
        match answer {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => last = Some(error),
            answer => return answer,
        }
    }
    Err(last.unwrap())
}

pub(crate) fn here() -> OwnedFd {
    namespace::current().unwrap()
}

pub(crate) fn tcp(container_port: u16, host: Option<&str>, host_port: Option<u16>) -> PortRequest {
    PortRequest {
        container_port,
        protocol: Protocol::Tcp,
        host_ip: host.map(|text| text.parse().unwrap()),
        host_ports: host_port.map(|port| (port, port)),
    }
}

pub(crate) fn wanted(name: &str) -> Network {
    Network {
        name: name.to_owned(),
        enable_ipv4: true,
        ..Network::default()
    }
}
