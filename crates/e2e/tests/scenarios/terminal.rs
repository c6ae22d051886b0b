//! `run -it` and its kin: a shell as on any terminal.

use hull_testkit::{Client, Scene, scenario};

scenario!(an_interactive_shell_returns_its_code_and_goes_on_later(scene) {
    let mut terminal = scene.terminal("run -it --name shell busybox sh");
    terminal.expect("/ # ");
    terminal.line("tty; echo sum $((40 + 2))");
    terminal.expect("/dev/pts/0");
    terminal.expect("sum 42");
    terminal.line("echo kept > /note; exit 7");
    assert_eq!(terminal.wait(), 7, "{}", terminal.screen());
    assert_eq!(scene.inspect("shell", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");

    let mut terminal = scene.terminal("start -ai shell");
    terminal.line("cat /note; exit 3");
    terminal.expect("kept");
    assert_eq!(terminal.wait(), 3, "{}", terminal.screen());
});

scenario!(the_window_has_the_size_of_ours_and_follows_it(scene) {
    let mut terminal = scene.terminal("run -it --rm busybox sh");
    terminal.expect("/ # ");
    terminal.resize(41, 123);
    // The client hears of it by a signal; the container's terminal follows a moment later.
    terminal.line("until [ \"$(stty size)\" = '41 123' ]; do sleep 0.05; done; echo now it is 'right'");
    // Docker's client starts to listen to the signal after it has attached: an early one is lost there.
    if scene.client == Client::Docker {
        hull_testkit::until("docker hears of the window's size", || {
            terminal.resize(41, 122);
            terminal.resize(41, 123);
            terminal.screen().contains("now it is right")
        });
    }
    terminal.expect("now it is right");
    terminal.line("exit");
    assert_eq!(terminal.wait(), 0);
});

scenario!(control_c_interrupts_the_job_and_not_the_shell(scene) {
    let mut terminal = scene.terminal("run -it --rm busybox sh");
    terminal.expect("/ # ");
    terminal.line("echo has 'begun'; sleep 1000; echo slept 'badly' $?");
    terminal.expect("has begun");
    terminal.send("\x03");
    terminal.expect("/ # ");
    terminal.line("echo begun 'again'; sleep 1000");
    terminal.expect("begun again");
    terminal.send("\x1a");
    terminal.expect("Stopped");
    terminal.expect("/ # ");
    terminal.line("fg");
    terminal.expect("sleep 1000");
    terminal.send("\x03");
    terminal.expect("/ # ");
    terminal.line("exit 0");
    assert_eq!(terminal.wait(), 0);
});

scenario!(control_c_ends_a_program_that_is_alone(scene) {
    let mut terminal = scene.terminal("run -it --init --rm busybox sh -c 'echo ready; sleep 1000'");
    terminal.expect("ready");
    terminal.send("\x03");
    assert_eq!(terminal.wait(), 130, "{}", terminal.screen());
});

scenario!(the_detach_keys_leave_it_running(scene) {
    let mut terminal = scene.terminal("run -it --name box busybox sh");
    terminal.expect("/ # ");
    terminal.send("\x10\x11");
    assert_eq!(terminal.wait(), 0, "{}", terminal.screen());
    assert_eq!(scene.inspect("box", "{{.State.Running}}"), "true");

    let mut terminal = scene.terminal("attach --detach-keys ctrl-x,x box");
    terminal.line("echo back 'again'");
    terminal.expect("back again");
    terminal.send("\x18x");
    terminal.expect("read escape sequence");
    assert_eq!(terminal.wait(), 1, "{}", terminal.screen());
    assert_eq!(scene.inspect("box", "{{.State.Running}}"), "true");
});

scenario!(exec_gives_a_terminal_too(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    let mut terminal = scene.terminal("exec -it box sh");
    terminal.expect("/ # ");
    terminal.line("tty; ps | grep -c sleep; exit 4");
    terminal.expect("/dev/pts/");
    assert_eq!(terminal.wait(), 4, "{}", terminal.screen());
});

scenario!(a_terminal_is_refused_where_the_client_has_none(scene) {
    let mut run = scene.begin("run -it --rm busybox true");
    let (code, _, stderr) = run.wait();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("the input device is not a TTY"), "{stderr}");
});

#[test]
fn bash_in_debian_has_job_control_and_no_complaint() {
    Scene::play(Client::Hull, |scene| {
        scene.daemon.load("debian");
        let mut terminal = scene.terminal("run -it --name shell debian bash");
        terminal.expect("# ");
        assert!(
            !terminal.screen().contains("no job control"),
            "{}",
            terminal.screen()
        );
        terminal.line("sleep 1000 & jobs; kill %1; exit 7");
        terminal.expect("Running");
        assert_eq!(terminal.wait(), 7);
    });
}
