//! A lock guard is held across an `.await`.

use std::sync::{Arc, Mutex};

use tower_chain::{Chain, Provided, handler_fn};

type Counter = Arc<Mutex<u32>>;

async fn count(Provided(counter): Provided<Counter>) -> String {
    let mut count = counter.lock().unwrap();
    *count += 1;
    std::future::ready(()).await;
    count.to_string()
}

fn main() {
    let _ = Chain::new().provide(Counter::default()).get(count).build();
    let _ = handler_fn::<(Provided<Counter>,), _, _>(count);
}
