//! On a network that says so, nobody sends under a neighbour's address.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use hull_network::{Network, Networks};
use hull_sys::netlink::namespace;

use crate::host::*;

fn guarded(networks: &Networks) -> Network {
    let options = BTreeMap::from([("hull.antispoof".to_owned(), "true".to_owned())]);
    let network = Network {
        options,
        enable_ipv6: true,
        ..wanted("guarded")
    };
    networks.create(network).unwrap()
}

fn inside(of: &Container, commands: &[&str]) {
    namespace::enter(of.sandbox.as_fd(), || {
        commands.iter().for_each(|command| drop(ip(command)));
        Ok(())
    })
    .unwrap();
}

/// What `from` has noted of `address`, after it was asked for.
fn neighbour(from: BorrowedFd<'_>, address: &str) -> String {
    namespace::enter(from, || Ok(ip(&format!("neigh show {address}")))).unwrap()
}

#[test]
fn on_a_guarded_network_all_is_as_elsewhere_for_who_is_honest() {
    on_a_host(|outside| {
        let networks = open();
        guarded(&networks);
        let web = container_in(&networks, "guarded", "web");
        let other = container_in(&networks, "guarded", "other");
        serve_on(web.sandbox.as_fd(), "[::]:80".parse().unwrap());
        serve(outside.0.as_fd(), 7000);
        let at = address(&web);
        let told = ask_again(other.sandbox.as_fd(), &format!("{at}:80")).unwrap();
        assert_eq!(told, address(&other).to_string());
        let six = web.endpoint.ipv6.unwrap().addr();
        ask_again(other.sandbox.as_fd(), &format!("[{six}]:80")).unwrap();
        ask_again(web.sandbox.as_fd(), &format!("{OUTSIDE}:7000")).unwrap();
        networks
            .publish(&web.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap();
        ask_again(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap();
        ask_again(web.sandbox.as_fd(), &format!("{HOST}:8080")).unwrap();
    });
}

/// A thief takes its neighbour's addresses, and asks a third under them.
fn steal(network: &str, networks: &Networks) -> io::Result<String> {
    let victim = container_in(networks, network, "victim");
    let thief = container_in(networks, network, "thief");
    let server = container_in(networks, network, "server");
    serve(server.sandbox.as_fd(), 80);
    let own = address(&thief);
    let stolen = address(&victim);
    let at = address(&server);
    // The victim is silent: it is the thief alone that could be mistaken for it.
    inside(&victim, &["link set eth0 down"]);
    inside(
        &thief,
        &[
            &format!("addr del {own}/16 dev eth0"),
            &format!("addr add {stolen}/16 dev eth0"),
        ],
    );
    let told = ask(thief.sandbox.as_fd(), &format!("{at}:80"));
    let noted = neighbour(server.sandbox.as_fd(), &stolen.to_string());
    let thiefs = noted.contains(&thief.endpoint.mac);
    assert_eq!(thiefs, told.is_ok(), "{noted}");
    told
}

#[test]
fn a_neighbours_address_is_stolen_where_nobody_watches_and_not_on_a_guarded_network() {
    on_a_host(|_| {
        let networks = open();
        guarded(&networks);
        networks.create(wanted("plain")).unwrap();
        steal("plain", &networks).unwrap();
        steal("guarded", &networks).unwrap_err();
    });
}

/// A thief with its neighbour's link-layer address: sends a frame each time it is asked, and tells whether the bridge takes it for
/// the neighbour.
fn forge(network: &str, networks: &Networks) -> impl FnMut() -> bool {
    let victim = container_in(networks, network, "victim");
    let thief = container_in(networks, network, "thief");
    let gateway = thief.endpoint.gateway.unwrap();
    let own = victim.endpoint.mac.clone();
    inside(
        &thief,
        &[
            "link set eth0 down",
            &format!("link set eth0 address {own}"),
            "link set eth0 up",
        ],
    );
    move || {
        namespace::enter(thief.sandbox.as_fd(), || {
            let udp = std::net::UdpSocket::bind("0.0.0.0:0")?;
            // Not before its link is up.
            let _ = udp.send_to(b"x", (gateway, 9));
            Ok(())
        })
        .unwrap();
        let known = run(
            "bridge",
            &["fdb", "show", "dev", &thief.endpoint.host_interface],
        );
        let mut lines = known.lines();
        lines.any(|line| line.starts_with(&own) && !line.contains("permanent"))
    }
}

#[test]
fn a_frame_from_a_neighbours_link_layer_address_is_thrown_away() {
    on_a_host(|_| {
        let networks = open();
        guarded(&networks);
        networks.create(wanted("plain")).unwrap();
        let mut believed = forge("plain", &networks);
        let mut tries = 0;
        eventually("the bridge believes the thief", || {
            tries += 1;
            believed()
        });
        let mut believed = forge("guarded", &networks);
        for _ in 0..tries + 20 {
            assert!(!believed());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
}

#[test]
fn a_restart_and_a_flush_keep_the_guard_and_it_goes_with_the_network() {
    on_a_host(|_| {
        let networks = open();
        guarded(&networks);
        let web = container_in(&networks, "guarded", "web");
        let link = &web.endpoint.host_interface;
        let is_known = || nft("list table bridge hull").contains(link.as_str());
        assert!(is_known());
        nft("flush ruleset");
        networks.heal().unwrap();
        assert!(is_known());
        let saved = networks.list();
        drop(networks);
        let networks = Networks::open(hull_network::Config::default(), &saved).unwrap();
        let running = vec![(web.endpoint.clone(), Vec::new())];
        networks.restore(running).unwrap();
        assert!(is_known());
        networks.disconnect(&web.endpoint).unwrap();
        assert!(!is_known());
        networks.remove("guarded").unwrap();
        assert!(!nft("list tables").contains("bridge"));
    });
}
