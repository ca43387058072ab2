//! Every metric there is. docs/metrics.md explains them; a test compares the two, and what a running core serves.

use crate::metrics::{Family, Kind};

macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $constant: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// Every metric, in the order in which they are served.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

catalogue! {
    BUILD = Gauge "margay_build_info" ["version"] "The program; always 1.";
    UPTIME = Gauge "margay_uptime_seconds" [] "Time since the core started.";
    CLOCK_CONFIRMED = Gauge "margay_clock_confirmed" [] "Whether an authenticated server has confirmed the time.";
    CLOCK_CORRECTION = Gauge "margay_clock_correction_seconds" [] "The core's time less the system's.";
    DEVICE_TEMPERATURE = Gauge "margay_device_temperature_celsius" [] "The processor's temperature, or the warmest of the device's.";
    DEVICE_THROTTLED = Gauge "margay_device_throttled" [] "Whether the processor is slowed down.";
    CORE_MEMORY = Gauge "process_resident_memory_bytes" [] "Resident memory of the core's process, workers not included.";
    CORE_CPU = Counter "process_cpu_seconds_total" [] "Processor time of the core's process, workers not included.";
    CORE_DESCRIPTORS = Gauge "process_open_fds" [] "Open descriptors of the core's process.";
    CORE_THREADS = Gauge "process_threads" [] "Threads of the core's process.";

    LINK_CONNECTED = Gauge "margay_link_connected" [] "Whether the broker has admitted the core.";
    LINK_CONNECTIONS = Counter "margay_link_connections_total" [] "Connections that the broker admitted.";
    LINK_ATTEMPT = Gauge "margay_link_attempts" [] "Attempts to connect since the last success; 0 while connected.";
    LINK_PAUSE = Gauge "margay_link_reconnect_pause_seconds" [] "The pause before the next attempt to connect; 0 where there is none.";
    LINK_ACCEPTED = Counter "margay_link_accepted_total" [] "Messages taken to be published.";
    LINK_ACKNOWLEDGED = Counter "margay_link_acknowledged_total" [] "Messages that the broker acknowledged.";
    LINK_RESENT = Counter "margay_link_resent_total" [] "Sendings beyond a message's first.";
    LINK_REFUSED = Counter "margay_link_refused_total" ["reason"] "Messages not taken, by reason.";
    LINK_IN_FLIGHT = Gauge "margay_link_in_flight_messages" [] "Messages sent and not acknowledged.";
    SPOOL_QUEUED = Gauge "margay_spool_queued_messages" [] "Messages that wait to be sent.";
    SPOOL_BYTES = Gauge "margay_spool_bytes" [] "Bytes of the spool's limit in use, in flight included.";
    SPOOL_DROPPED = Counter "margay_spool_dropped_total" ["reason"] "Messages taken and given up, by reason.";

    ROUTER_ROUTED = Counter "margay_router_routed_total" [] "Messages that at least one subscription selected.";
    ROUTER_NO_ROUTE = Counter "margay_router_no_route_total" [] "Messages that no subscription selected.";
    ROUTER_REFUSED = Counter "margay_router_refused_total" [] "Messages refused for their topic or size.";
    ROUTER_PUT_OFF = Counter "margay_router_put_off_total" [] "Messages under AllOrError that a full queue sent back.";
    ROUTER_MISSED = Counter "margay_router_missed_total" [] "Messages that a target did not get, counted for each.";
    SUBSCRIPTION_INFO = Gauge "margay_subscription_info" ["subscription", "source", "subject", "target"] "A subscription of the group; always 1.";
    SUBSCRIPTION_MESSAGES = Counter "margay_subscription_messages_total" ["subscription"] "Messages that a subscription selected.";
    SUBSCRIPTION_BYTES = Counter "margay_subscription_bytes_total" ["subscription"] "Bytes of their payloads.";
    SUBSCRIPTION_MISSED = Counter "margay_subscription_missed_total" ["subscription"] "Messages that a subscription selected and its target did not get.";
    QUEUE_WAITING = Gauge "margay_queue_waiting_messages" ["target"] "Messages that wait for a local target.";
    QUEUE_BYTES = Gauge "margay_queue_bytes" ["target"] "Bytes of the queue's limit in use.";
    QUEUE_TAKEN = Counter "margay_queue_taken_total" ["target"] "Messages that a local target took.";
    QUEUE_FULL = Counter "margay_queue_full_total" ["target"] "Messages that found the queue full.";

    CAPTURED = Counter "margay_frames_captured_total" ["camera"] "Frames captured.";
    SKIPPED = Counter "margay_frames_skipped_total" ["camera"] "Pictures of the source that never became a frame.";
    CONDITION = Gauge "margay_camera_condition" ["camera", "condition"] "Whether something is wrong with a camera: black, over_exposed, frozen, silent.";
    CONDITION_BEGUN = Counter "margay_camera_conditions_total" ["camera", "condition"] "How often it began.";
    INFERRED = Counter "margay_frames_inferred_total" ["camera"] "Frames classified.";
    DROPPED = Counter "margay_frames_dropped_total" ["camera", "reason"] "Frames captured and not classified, by reason.";
    PUBLISHED = Counter "margay_frames_published_total" ["camera", "reason"] "Classified frames that were published, by reason.";
    WITHHELD = Counter "margay_frames_withheld_total" ["camera", "reason"] "Classified frames that were not published, by reason.";
    TRIGGERS = Counter "margay_triggers_total" ["camera", "outcome"] "Requests for a prediction, by what became of them.";
    MODEL = Gauge "margay_model_info" ["camera", "name", "version", "digest"] "The model that classifies; always 1.";
    STAGE = Histogram "margay_stage_seconds" ["camera", "stage"] "Time of one frame in a stage.";
    TO_INFERENCE = Histogram "margay_capture_to_inference_seconds" ["camera"] "From capture to the moment the prediction was made.";
    TO_ACKNOWLEDGEMENT = Histogram "margay_capture_to_acknowledgement_seconds" [] "From capture to the broker's acknowledgement.";

    DEPLOYMENT = Gauge "margay_deployment_state" ["resource", "state"] "How a model's deployment stands; 1 for the present state.";
    WORKER_UP = Gauge "margay_worker_up" ["camera", "role"] "Living workers.";
    WORKER_RESTARTS = Counter "margay_worker_restarts_total" ["camera", "role"] "Restarts of workers.";
    WORKER_MEMORY = Gauge "margay_worker_resident_memory_bytes" ["camera", "role"] "Resident memory of the workers.";
    VIEWER_RESTARTS = Counter "margay_page_restarts_total" [] "Restarts of the page's viewer; 0 without a page.";

    FUNCTION_STATE = Gauge "margay_function_state" ["function", "state"] "How a function stands; 1 for the present state.";
    FUNCTION_WORKERS = Gauge "margay_function_workers" ["function"] "Processes of a function.";
    FUNCTION_MEMORY = Gauge "margay_function_memory_bytes" ["function"] "Memory of a function's processes and of what they started.";
    FUNCTION_PROCESSES_REFUSED = Gauge "margay_function_refused_processes" ["function"] "Processes that a function's present ones were refused for their number.";
    FUNCTION_INVOCATIONS = Counter "margay_function_invocations_total" ["function", "outcome"] "Invocations of a function, by what became of them.";
    FUNCTION_STARTS = Counter "margay_function_starts_total" ["function"] "Processes of a function that were started.";
    FUNCTION_CRASHES = Counter "margay_function_crashes_total" ["function", "cause"] "Processes of a function that ended unasked, by cause.";
    SERVICE_REQUESTS = Counter "margay_inference_service_requests_total" ["service", "outcome"] "Requests to a local inference service, by what became of them.";
    SERVICE_STARTS = Counter "margay_inference_service_starts_total" ["service"] "Workers of a local inference service that were started.";
    FEEDBACK_SAMPLES = Counter "margay_feedback_samples_total" ["outcome"] "Requests to the feedback connector, by what became of them.";
    FEEDBACK_WAITING = Gauge "margay_feedback_waiting_samples" [] "Samples that wait to be uploaded.";
    FEEDBACK_BYTES = Gauge "margay_feedback_waiting_bytes" [] "Bytes of the spool's limit that they take.";

    CREDENTIALS_EXPIRY = Gauge "margay_credentials_expiry_seconds" ["role_alias"] "How long the temporary credentials still hold; 0 without any.";
    CREDENTIALS_FETCHES = Counter "margay_credentials_fetches_total" ["role_alias"] "Requests to the credentials provider.";
    CREDENTIALS_FAILURES = Counter "margay_credentials_failures_total" ["role_alias", "class"] "Requests that brought none, by class.";

    STORE_MODELS = Gauge "margay_store_models" [] "Models in the store.";
    STORE_BYTES = Gauge "margay_store_bytes" [] "Bytes of their files.";
}
