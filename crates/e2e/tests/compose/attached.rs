//! How long `up` stays, and what it hears.

use crate::{Application, Driver, application};

application!(up_stays_until_the_last_has_ended("
    name: stays
    services:
      quick: {image: busybox, command: echo quick}
      slow: {image: busybox, command: sh -c 'sleep 1.5; echo slow'}
", app) {
    let output = app.run("up --no-color");
    assert_eq!(output.code, 0, "{}", output.stderr);
    for line in ["quick-1  | quick", "slow-1   | slow"] {
        assert!(output.stdout.contains(line), "{line}: {}{}", output.stdout, output.stderr);
    }
    app.ok("down");
});

// Docker's own may give up here with `context canceled`, and the older one leaves with the first end.
#[test]
fn up_stays_while_what_failed_starts_again() {
    let file = "
        name: again
        services:
          a:
            image: busybox
            command: sh -c 'if test -e /once; then echo the second time; exit 0; fi; touch /once; echo the first time; exit 3'
            restart: on-failure
    ";
    Application::play(Driver::Hull, file, |app| {
        let output = app.run("up --no-color");
        assert_eq!(output.code, 0, "{}", output.stderr);
        for line in ["the first time", "the second time"] {
            assert_eq!(
                output.stdout.matches(line).count(),
                1,
                "{line}: {}",
                output.stdout
            );
        }
        assert!(
            output
                .stderr
                .contains("a-1 exited with code 3 (restarting)"),
            "{}",
            output.stderr
        );
        assert_eq!(app.field("again-a-1", "/State/ExitCode"), 0);
        app.ok("down");
    });
}

// The end comes while the other is still being waited for: `up` has not yet begun to stay.
application!(up_hears_ends_that_come_before_all_is_started("
    name: early
    services:
      early: {image: busybox, command: sh -c 'echo early; exit 5'}
      gate: {image: busybox, command: sh -c 'sleep 1'}
      late:
        image: busybox
        command: sh -c 'echo late'
        depends_on: {gate: {condition: service_completed_successfully}}
", app) {
    let output = app.run("up --no-color");
    assert_eq!(output.code, 0, "{}", output.stderr);
    let all = format!("{}{}", output.stdout, output.stderr);
    assert!(all.contains("early-1 exited with code 5"), "{all}");
    assert!(output.stdout.contains("late-1   | late"), "{all}");
    app.ok("down");
});

#[test]
fn what_an_earlier_run_said_is_not_said_again() {
    let file = "
        name: again
        services:
          web:
            image: busybox
            command: [sh, -c, 'touch /count; echo run $$(wc -l < /count); echo >> /count']
    ";
    Application::play(Driver::Hull, file, |app| {
        for number in 0..4 {
            let said = app.run("up --no-log-prefix");
            assert_eq!(said.code, 0, "{said:?}");
            assert_eq!(said.stdout.trim(), format!("run {number}"), "{said:?}");
        }
        app.ok("down");
    });
}
