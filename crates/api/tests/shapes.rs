//! Bodies look as Docker's do: what is `null`, `[]`, `{}` or absent is part of the contract.

use hull_api::{
    decode::from_slice,
    types::{
        Config, ContainerCreate, ContainerInspect, ContainerPrune, ContainerSummary, ContainerWait,
        EndpointSettings, Event, ExecInspect, HostConfig, ImageSummary, Info, Network, PortSummary,
        Stats, Version, VolumeList, WaitError,
    },
};
use serde_json::{Value, json};

fn written(body: &impl serde::Serialize) -> Value {
    serde_json::to_value(body).expect("bodies always have a JSON form")
}

/// The body a Docker client sends for `docker run --rm -p 8080:80 -v /srv:/data:ro nginx`,
/// shortened, with the nulls it sends.
const CREATE: &str = r#"{
  "Hostname":"", "Domainname":"", "User":"", "AttachStdin":false, "AttachStdout":true,
  "AttachStderr":true, "ExposedPorts":{"80/tcp":{}}, "Tty":false, "OpenStdin":false,
  "StdinOnce":false, "Env":null, "Cmd":null, "Image":"nginx", "Volumes":{}, "WorkingDir":"",
  "Entrypoint":null, "OnBuild":null, "Labels":{},
  "HostConfig":{"Binds":["/srv:/data:ro"], "ContainerIDFile":"",
    "LogConfig":{"Type":"","Config":{}}, "NetworkMode":"default",
    "PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},
    "RestartPolicy":{"Name":"no","MaximumRetryCount":0}, "AutoRemove":true, "VolumeDriver":"",
    "VolumesFrom":null, "ConsoleSize":[24,80], "CapAdd":null, "Dns":[], "ShmSize":0,
    "BlkioDeviceReadIOps":[{"Path":"/dev/sda","Rate":7}], "PidsLimit":0, "MaskedPaths":null,
    "IOMaximumIOps":0},
  "NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"MacAddress":"",
    "GwPriority":0,"DNSNames":null}}}
}"#;

#[test]
fn a_create_is_read_as_sent() {
    let body: ContainerCreate = from_slice(CREATE.as_bytes()).unwrap();
    assert_eq!(body.config.image, "nginx");
    assert_eq!(body.config.cmd, None);
    assert!(body.config.exposed_ports.contains_key("80/tcp"));
    let host = body.host_config.unwrap();
    assert_eq!(
        host.binds.as_deref(),
        Some(&["/srv:/data:ro".to_owned()][..])
    );
    assert_eq!(
        host.port_bindings.unwrap()["80/tcp"].as_ref().unwrap()[0].host_port,
        "8080"
    );
    assert_eq!(host.console_size, [24, 80]);
    assert_eq!(host.blkio_device_read_iops.unwrap()[0].rate, 7);
    assert_eq!(host.pids_limit, Some(0));
    assert!(body.networking_config.unwrap().endpoints_config["default"].is_some());
}

#[test]
fn a_create_in_lower_case_means_the_same() {
    let body: ContainerCreate = from_slice(
        br#"{"image":"busybox","CMD":"date","hostconfig":{"shmsize":5,
             "portbindings":{"80/tcp":null}},"networkingconfig":{"endpointsconfig":{"n":null}}}"#,
    )
    .unwrap();
    assert_eq!(body.config.cmd.unwrap(), ["date"]);
    let host = body.host_config.unwrap();
    assert_eq!(host.shm_size, 5);
    assert_eq!(host.port_bindings.unwrap()["80/tcp"], None);
    assert_eq!(body.networking_config.unwrap().endpoints_config["n"], None);
}

#[test]
fn a_create_written_by_the_client_reads_back() {
    let body: ContainerCreate = from_slice(CREATE.as_bytes()).unwrap();
    let wire = serde_json::to_vec(&body).unwrap();
    assert_eq!(from_slice::<ContainerCreate>(&wire).unwrap(), body);
}

#[test]
fn an_empty_config_says_null_where_docker_does() {
    assert_eq!(
        written(&Config::default()),
        json!({
            "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false,
            "AttachStdout": false, "AttachStderr": false, "Tty": false, "OpenStdin": false,
            "StdinOnce": false, "Env": null, "Cmd": null, "Image": "", "Volumes": null,
            "WorkingDir": "", "Entrypoint": null, "OnBuild": null, "Labels": null
        })
    );
}

#[test]
fn an_empty_host_config_says_null_where_docker_does() {
    let got = written(&HostConfig::default());
    for null in [
        "Binds",
        "VolumesFrom",
        "CapAdd",
        "CapDrop",
        "Dns",
        "ExtraHosts",
        "GroupAdd",
        "Links",
        "SecurityOpt",
        "DeviceRequests",
        "DeviceCgroupRules",
        "PidsLimit",
        "MemorySwappiness",
        "MaskedPaths",
        "ReadonlyPaths",
        "Ulimits",
        "OomKillDisable",
        "PortBindings",
    ] {
        assert_eq!(got.get(null), Some(&Value::Null), "{null}");
    }
    for absent in [
        "Mounts",
        "Annotations",
        "StorageOpt",
        "Tmpfs",
        "Sysctls",
        "Init",
        "Runtime",
    ] {
        assert_eq!(got.get(absent), None, "{absent}");
    }
    for name in [
        "UTSMode",
        "ContainerIDFile",
        "IOMaximumIOps",
        "CgroupnsMode",
        "CpusetMems",
    ] {
        assert!(got.get(name).is_some(), "{name}");
    }
    assert_eq!(got["ConsoleSize"], json!([0, 0]));
    assert_eq!(got["LogConfig"], json!({"Type": "", "Config": null}));
}

#[test]
fn lists_in_answers_are_empty_not_null() {
    let summary = written(&ContainerSummary::default());
    for list in ["Names", "Ports", "Mounts"] {
        assert_eq!(summary[list], json!([]), "{list}");
    }
    assert_eq!(summary["HostConfig"], json!({}));
    assert_eq!(summary["NetworkSettings"], json!({"Networks": {}}));
    let image = written(&ImageSummary::default());
    assert_eq!(
        (&image["RepoTags"], &image["RepoDigests"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(image["Labels"], Value::Null);
    assert_eq!(
        written(&VolumeList::default()),
        json!({"Volumes": null, "Warnings": null})
    );
    assert_eq!(
        written(&ContainerPrune::default()),
        json!({"ContainersDeleted": null, "SpaceReclaimed": 0})
    );
}

#[test]
fn an_inspect_has_every_member_even_when_empty() {
    let got = written(&ContainerInspect::default());
    for name in [
        "Id",
        "Created",
        "Path",
        "Args",
        "State",
        "Image",
        "ResolvConfPath",
        "HostnamePath",
        "HostsPath",
        "LogPath",
        "Name",
        "RestartCount",
        "Driver",
        "Platform",
        "MountLabel",
        "ProcessLabel",
        "AppArmorProfile",
        "ExecIDs",
        "HostConfig",
        "Mounts",
        "Config",
        "NetworkSettings",
    ] {
        assert!(got.get(name).is_some(), "{name}");
    }
    assert_eq!(got["ExecIDs"], Value::Null);
    assert_eq!(
        got["NetworkSettings"],
        json!({"SandboxID": "", "SandboxKey": "", "Ports": {}, "Networks": {}})
    );
    assert_eq!(got["State"]["OOMKilled"], json!(false));
    assert!(got["State"].get("Health").is_none());
}

#[test]
fn an_endpoint_has_dockers_spelling() {
    assert_eq!(
        written(&EndpointSettings::default()),
        json!({
            "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "",
            "DriverOpts": null, "GwPriority": 0, "NetworkID": "", "EndpointID": "", "Gateway": "",
            "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0, "DNSNames": null
        })
    );
}

#[test]
fn small_answers() {
    assert_eq!(written(&ContainerWait::default()), json!({"StatusCode": 0}));
    let error = Some(WaitError {
        message: "no".into(),
    });
    assert_eq!(
        written(&ContainerWait {
            status_code: 1,
            error
        }),
        json!({"StatusCode": 1, "Error": {"Message": "no"}})
    );
    let port = PortSummary {
        private_port: 80,
        protocol: "tcp".into(),
        ..Default::default()
    };
    assert_eq!(written(&port), json!({"PrivatePort": 80, "Type": "tcp"}));
    assert_eq!(
        written(&Event::default()),
        json!({"Type": "", "Action": "", "Actor": {"ID": "", "Attributes": {}}})
    );
    assert_eq!(written(&ExecInspect::default())["ExitCode"], Value::Null);
}

#[test]
fn a_daemon_that_says_nothing_is_understood() {
    assert_eq!(from_slice::<Info>(b"{}").unwrap(), Info::default());
    assert_eq!(from_slice::<Version>(b"{}").unwrap(), Version::default());
    let stats: Stats = from_slice(br#"{"cpu_stats":{"cpu_usage":{"total_usage":9}}}"#).unwrap();
    assert_eq!(stats.cpu_stats.cpu_usage.total_usage, 9);
    let network: Network = from_slice(
        br#"{"Name":"bridge","IPAM":{"Driver":"default","Options":null,
             "Config":[{"Subnet":"172.17.0.0/16","Gateway":"172.17.0.1"}]},"Containers":{}}"#,
    )
    .unwrap();
    assert_eq!(network.ipam.config.unwrap()[0].subnet, "172.17.0.0/16");
}

#[test]
fn info_has_dockers_spelling() {
    let got = written(&Info::default());
    for name in [
        "ID",
        "NCPU",
        "NFd",
        "NGoroutines",
        "NEventsListener",
        "OSType",
        "OSVersion",
        "CPUShares",
        "CPUSet",
        "CpuCfsQuota",
        "IPv4Forwarding",
        "OomKillDisable",
        "MemTotal",
        "HttpProxy",
        "CDISpecDirs",
        "InitBinary",
        "RuncCommit",
        "SecurityOptions",
        "ServerVersion",
    ] {
        assert!(got.get(name).is_some(), "{name}");
    }
}
