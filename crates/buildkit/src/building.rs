//! From a client's attributes to a build: find the Dockerfile, put the request together, and have
//! it carried out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hull_build::{
    BuildRequest, Cancel, NamedContext,
    export::{Attest, ImageOutput},
    request::RunDefaults,
    tree::Tree,
};
use hull_oci::{Descriptor, Platform};

use crate::{
    attributes::{Attributes, Main, Named},
    cache::{self, Import},
    contexts::Client,
    events::{LOADING, Listener, Step, file_and_lines},
    gateway::marker,
    grpc::{Code, Status},
    guests::Guests,
    job::Job,
    layout, problem,
    proto::llb::Definition,
    questions,
    service::Front,
    solved::Solved,
};

/// The client's name of the directory that holds the Dockerfile.
const DOCKERFILE_DIRECTORY: &str = "dockerfile";

/// What a context does not show is said here.
const IGNORE_FILE: &str = ".dockerignore";

/// The largest Dockerfile.
const DOCKERFILE_BYTES_MAX: u64 = 16 << 20;

/// A Dockerfile, and what its context does not show.
struct Recipe {
    text: String,
    ignore: String,
}

/// Results of other builds, by the names that attributes call them by.
pub(crate) type Inputs = HashMap<String, Definition>;

/// Carries a build out, or answers a question about it.
pub(crate) async fn run(
    front: &Front,
    job: &Arc<Job>,
    attributes: Attributes,
    inputs: &Inputs,
    imports: Vec<Import>,
) -> Result<Solved, Status> {
    let main = match &attributes.main {
        Main::Local(name) => name.clone(),
        Main::Address(_) => "context".to_owned(),
    };
    let client = Client::of(
        front.sessions(),
        &job.session,
        &attributes.sessions,
        Arc::clone(front.builder()),
        main,
    )
    .await?;
    let client = Arc::new(client);
    let attest = attest(&attributes)?;
    let recipe = recipe(job, &client, &attributes).await?;
    let guests = Guests::new(Arc::clone(front.store()), Arc::clone(front.hosts()));
    let named = named_contexts(front, &client, &guests, &attributes, inputs).await?;
    let mut request = request(job, &attributes, recipe)?;
    request.named_contexts = named;
    request.cache_from = cache::sources(imports, client.session());
    request.contexts = Arc::clone(&client) as _;
    request.secrets = Arc::clone(&client) as _;
    request.ssh = Arc::clone(&client) as _;
    request.logins = Arc::clone(&client) as _;
    if let Some(question) = &attributes.question {
        return questions::answer(front, question, request).await;
    }
    let inline_cache = attributes.inline_cache;
    let build = carry_out(front, job, request);
    let built = tokio::select! {
        built = build => built?,
        () = client.session().ended() => return Err(gone()),
    };
    Ok(Solved {
        built: Some(built),
        inline_cache,
        attest,
        metadata: HashMap::new(),
    })
}

/// What the client wants stated about images.
fn attest(attributes: &Attributes) -> Result<Attest, Status> {
    let mut attest = Attest::default();
    for (kind, settings) in &attributes.attestations {
        attest.add(kind, settings).map_err(Status::unimplemented)?;
    }
    Ok(attest)
}

/// Has the builder do it, in a thread of its own. Stops it when nobody waits any more.
async fn carry_out(
    front: &Front,
    job: &Arc<Job>,
    request: BuildRequest,
) -> Result<hull_build::Built, Status> {
    let cancel = Stop(Cancel::new());
    let (builder, stop) = (Arc::clone(front.builder()), cancel.0.clone());
    let listener = Arc::new(Listener(Arc::clone(&job.progress)));
    let lender = Arc::clone(front.lender());
    let building = tokio::task::spawn_blocking(move || {
        let built = builder.build(&request, listener, &stop);
        // Whoever asked for it may be gone by now, and settle nothing.
        if built.is_err() {
            lender.sweep();
        }
        built
    });
    let built = building.await;
    let built = built.map_err(|_| Status::new(Code::Internal, "the build broke off"))?;
    built.map_err(|error| status(&error))
}

/// Stops a build when dropped.
pub(crate) struct Stop(pub(crate) Cancel);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn gone() -> Status {
    Status::new(Code::Cancelled, "the client is gone")
}

/// A failure of the builder, with its place.
pub(crate) fn status(error: &hull_build::Error) -> Status {
    let code = match error {
        hull_build::Error::Cancelled => Code::Cancelled,
        _ => Code::Unknown,
    };
    // Clients put these words in front themselves.
    let text = error.to_string();
    let text = text.strip_prefix("failed to solve: ").unwrap_or(&text);
    problem::located(code, text.to_owned(), error.place().map(file_and_lines))
}

/// Finds the Dockerfile.
async fn recipe(
    job: &Arc<Job>,
    client: &Arc<Client>,
    attributes: &Attributes,
) -> Result<Recipe, Status> {
    let uploaded = match &attributes.main {
        Main::Local(_) => None,
        Main::Address(address) => Some(upload(job, client, address, attributes).await?),
    };
    let name = &attributes.file_name;
    let step = Step::begin(&job.progress, &job.reference, &format!("{LOADING}{name}"));
    let found = match (&uploaded, &attributes.dockerfile_directory) {
        (Some(tree), None) => find(tree, &below(&attributes.subdirectory, name)),
        (_, directory) => {
            let directory = directory.as_deref().unwrap_or(DOCKERFILE_DIRECTORY);
            bring(client, directory, name, &step).await
        }
    };
    let (text, own_ignore) = step.end(found.and_then(|(text, ignore)| {
        let missing = || {
            let message =
                format!("failed to read dockerfile: open {name}: no such file or directory");
            Status::new(Code::Unknown, message)
        };
        Ok((text.ok_or_else(missing)?, ignore))
    }))?;
    let ignore = match (own_ignore, &uploaded) {
        (Some(own), _) => own,
        (None, Some(tree)) => {
            let path = below(&attributes.subdirectory, IGNORE_FILE);
            read(tree, &path)?.unwrap_or_default()
        }
        (None, None) => ignored(job, client, attributes).await?,
    };
    Ok(Recipe { text, ignore })
}

/// Brings the Dockerfile and what stands beside it for it.
async fn bring(
    client: &Client,
    directory: &str,
    name: &str,
    step: &Step,
) -> Result<(Option<String>, Option<String>), Status> {
    let mut wanted = vec![name.to_owned(), format!("{name}{IGNORE_FILE}")];
    if name == "Dockerfile" {
        wanted.push("dockerfile".to_owned());
    }
    let (tree, bytes) = client.files(directory, wanted).await?;
    step.status("transferring dockerfile:", bytes, 0, true);
    find(&tree, name)
}

/// The Dockerfile and what it ignores, if they are there.
fn find(tree: &Tree, name: &str) -> Result<(Option<String>, Option<String>), Status> {
    let mut dockerfile = read(tree, name)?;
    if let (None, Some(directory)) = (&dockerfile, name.strip_suffix("Dockerfile")) {
        dockerfile = read(tree, &format!("{directory}dockerfile"))?;
    }
    Ok((dockerfile, read(tree, &format!("{name}{IGNORE_FILE}"))?))
}

fn read(tree: &Tree, path: &str) -> Result<Option<String>, Status> {
    let bytes = tree.read(path, DOCKERFILE_BYTES_MAX);
    let bytes = bytes.map_err(|why| Status::new(Code::Unknown, why))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn below(directory: &str, name: &str) -> String {
    match directory.trim_matches('/') {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

/// What the client's context does not show.
async fn ignored(job: &Job, client: &Client, attributes: &Attributes) -> Result<String, Status> {
    let Main::Local(directory) = &attributes.main else {
        return Ok(String::new());
    };
    let step = Step::begin(
        &job.progress,
        &job.reference,
        "[internal] load .dockerignore",
    );
    let brought = client.files(directory, vec![IGNORE_FILE.to_owned()]).await;
    let (tree, bytes) = match brought {
        Ok(brought) => brought,
        // A Dockerfile alone needs no context.
        Err(status) if status.code == Code::NotFound => {
            return step.end(Ok(String::new()));
        }
        Err(status) => return step.end(Err(status)),
    };
    step.status("transferring context:", bytes, 0, true);
    step.end(read(&tree, IGNORE_FILE).map(Option::unwrap_or_default))
}

/// Takes what the client uploads, or fetches what its address names.
async fn upload(
    job: &Job,
    client: &Arc<Client>,
    address: &str,
    attributes: &Attributes,
) -> Result<Arc<Tree>, Status> {
    let step = Step::begin(
        &job.progress,
        &job.reference,
        "[internal] load remote build context",
    );
    let taken = match client.unpack(address).await {
        Ok(Some(tree)) => Ok(tree),
        Ok(None) => {
            let (name, args) = (&attributes.file_name, &attributes.build_args);
            client.fetch(address, name, args).await
        }
        Err(status) => Err(status),
    };
    step.end(taken)
}

/// The request, except for what the client itself answers.
fn request(job: &Job, attributes: &Attributes, recipe: Recipe) -> Result<BuildRequest, Status> {
    let mut request = BuildRequest::new(attributes.file_name.clone(), recipe.text);
    request.ignore = recipe.ignore;
    request.has_context = true;
    request.target.clone_from(&attributes.target);
    request.args.clone_from(&attributes.build_args);
    request.labels.clone_from(&attributes.labels);
    request.platforms = platforms(&attributes.platforms)?;
    request.no_cache = attributes.no_cache.as_ref().is_some_and(Vec::is_empty);
    request.no_cache_filter = attributes.no_cache.clone().unwrap_or_default();
    request.pull = attributes.pull;
    request.run = run_defaults(attributes);
    request.run.network = network(&attributes.network, &job.entitlements)?;
    request.entitlements.clone_from(&job.entitlements);
    request.source_date_epoch = attributes.source_date_epoch;
    Ok(request)
}

/// The network of commands that ask for none. The host's is a privilege.
fn network(mode: &str, granted: &[String]) -> Result<String, Status> {
    match mode {
        "" | "default" | "sandbox" => Ok(String::new()),
        "none" => Ok(mode.to_owned()),
        "host" if granted.iter().any(|one| one == "network.host") => Ok(mode.to_owned()),
        "host" => Err(Status::new(
            Code::PermissionDenied,
            "network.host is not allowed: grant it with --allow network.host",
        )),
        other => Err(Status::invalid(format!(
            "invalid netmode {other:?}: there are default, none and host"
        ))),
    }
}

fn run_defaults(attributes: &Attributes) -> RunDefaults {
    let resources = attributes.resources.clone();
    RunDefaults {
        network: String::new(),
        extra_hosts: attributes.extra_hosts.clone(),
        shm_size: attributes.shm_size,
        ulimits: attributes.ulimits.clone(),
        cgroup_parent: attributes.cgroup_parent.clone(),
        memory: resources.memory,
        memory_swap: resources.memory_swap,
        cpu_shares: resources.cpu_shares,
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpuset_cpus: resources.cpuset_cpus,
        cpuset_mems: resources.cpuset_mems,
        hostname: attributes.hostname.clone(),
    }
}

fn platforms(texts: &[String]) -> Result<Vec<Platform>, Status> {
    let parse = |text: &String| {
        text.parse().map_err(|error| {
            Status::invalid(format!("failed to parse target platform {text}: {error}"))
        })
    };
    texts.iter().map(parse).collect()
}

async fn named_contexts(
    front: &Front,
    client: &Client,
    guests: &Guests,
    attributes: &Attributes,
    inputs: &Inputs,
) -> Result<BTreeMap<String, NamedContext>, Status> {
    let mut contexts = BTreeMap::new();
    for (name, source) in &attributes.named {
        let context = match source {
            Named::Image(reference) => NamedContext::Image(reference.clone()),
            Named::Local(directory) => NamedContext::Local(directory.clone()),
            Named::Address(address) => NamedContext::Url(address.clone()),
            Named::Input(input) => {
                let made = target(front, name, inputs.get(input)).await?;
                NamedContext::Target(guests.take_in(made)?)
            }
            Named::Layout { store, digest } => {
                let id = format!("oci:{store}");
                let from = client.session().store(&id);
                let wanted = platforms(&attributes.platforms)?;
                let (to, lease) = (front.store(), guests.lease());
                let brought = layout::receive(&from, to, lease, digest, &wanted).await?;
                NamedContext::Stored(guests.take_in(brought)?)
            }
        };
        contexts.insert(name.clone(), context);
    }
    Ok(contexts)
}

/// Another build's result, as an image that this one can begin with.
async fn target(
    front: &Front,
    name: &str,
    definition: Option<&Definition>,
) -> Result<Descriptor, Status> {
    let result = definition.and_then(marker::result).ok_or_else(|| {
        Status::unimplemented(format!(
            "context {name} is not the result of another target of this build, and other \
             definitions are not supported"
        ))
    })?;
    let solved = front.jobs().result(&result)?;
    let builder = Arc::clone(front.builder());
    let making = tokio::task::spawn_blocking(move || {
        let built = solved.built.as_ref();
        let built = built.ok_or_else(|| Status::new(Code::NotFound, "the result has no files"))?;
        let made = built.unnamed_image(&builder, &ImageOutput::default());
        made.map_err(|error| status(&error))
    });
    let made = making.await;
    made.map_err(|_| Status::new(Code::Internal, "making an image broke off"))?
}
