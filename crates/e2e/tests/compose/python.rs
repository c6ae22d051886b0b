//! The Compose of before, in Python: what it makes is in other words than today's.

use hull_testkit::until;

use crate::{Application, Driver};

const FILE: &str = "
    version: '3.8'
    services:
      web:
        image: busybox
        command: sh -c 'echo web is here; trap exit TERM; sleep 1000 & wait'
        depends_on: [db]
        environment: {A: '1'}
        ports: ['80']
        volumes: ['data:/data']
      db: {image: busybox, command: sh -c 'echo db is here; trap exit TERM; sleep 1000 & wait'}
    volumes: {data: {}}
";

#[test]
fn a_project_is_driven_by_the_compose_of_before() {
    Application::play(Driver::Python, FILE, |app| {
        app.ok("up -d");
        assert_eq!(app.containers(), ["app_db_1", "app_web_1"]);
        let id = app.field("app_web_1", "/Id");
        app.ok("up -d");
        assert_eq!(id, app.field("app_web_1", "/Id"), "it was made anew");
        let listed = app.ok("ps");
        assert!(
            listed.contains("app_web_1") && listed.contains("Up"),
            "{listed}"
        );
        until("both have spoken", || {
            let said = app.ok("logs --no-color");
            said.contains("web_1  | web is here") && said.contains("db_1   | db is here")
        });
        assert_eq!(app.ok("exec -T web echo inside"), "inside");
        app.fails(7, "exec -T web sh -c 'exit 7'");
        assert_eq!(app.ok("run --rm -T web sh -c 'echo $A'"), "1");
        assert!(app.ok("port web 80").starts_with("0.0.0.0:"));
        app.ok("up -d --scale db=2");
        assert_eq!(app.containers(), ["app_db_1", "app_db_2", "app_web_1"]);
        for line in [
            "stop -t 0 web",
            "start web",
            "restart -t 0 db",
            "pause",
            "unpause",
            "top",
            "images",
            "kill web",
        ] {
            app.ok(line);
        }
        app.ok("rm -f web");
        app.ok("down -v -t 0");
        assert_eq!(app.containers(), Vec::<String>::new());
    });
}
