//! Hydrant: a delivery agent that turns log files into objects, each record exactly once.
//!
//! The map of the code, in the order in which a record meets it. A record never travels alone: [`record`] has the chunk and
//! its positions. [`stream`] is the whole data path of one delivery stream on one page; start there.
//!
//! 1. [`source`] tails files and cuts them into chunks of records.
//! 2. [`processing`] makes of each record what the configuration says, a chunk at a time on the compute pool.
//! 3. [`partition`] evaluates prefixes and makes object keys.
//! 4. [`buffer`] (pure) collects records until a buffering hint is reached; [`positions`] says exactly which, and [`batches`] with
//!    which others they were processed.
//! 5. [`encode`] forms and compresses the payload while records arrive, on the compute [`pool`]. [`convert`] (pure) makes
//!    Parquet of JSON, by a table's [`schema`].
//! 6. [`delivery`] takes a sealed buffer to its [`destination`], through the journal first, for some of them cut into [`requests`];
//!    [`output`] knows which there are, [`envelope`] how failed records look, [`error_type`] under which names they leave.
//! 7. [`ledger`] (pure) says where the checkpoints are, and [`journal`] makes them durable. After a crash [`recovery`] asks
//!    it where each record went.
//!
//! [`schema`] says what records look like as rows, and asks the registries that hold it; [`aws`] finds region and credentials,
//! [`http`] has what clients share, [`chain`] says errors with their causes.
//!
//! [`redrive`] reads what has failed from the error output again, and sends it through its stream once more.
//!
//! Around them: [`config`] is what the operator writes, [`memory`] bounds what all streams hold, [`account`] and [`status`]
//! count and show, [`log_limit`] bounds what is said again and again, [`daemon`] starts, supervises, reloads and stops, [`admin`]
//! answers what it is asked, [`notify`] tells the service manager, and [`cli`] is the command line. [`delivered`] tells from outside
//! how far a file has been delivered, and [`deletion`] acts on it.

pub mod account;
pub mod admin;
pub mod aws;
pub mod batches;
pub mod buffer;
pub mod chain;
pub mod cli;
pub mod config;
pub mod convert;
pub mod daemon;
pub mod deletion;
pub mod delivered;
pub mod delivery;
pub mod destination;
pub mod encode;
pub mod envelope;
pub mod error_type;
pub mod failpoint;
pub mod http;
pub mod journal;
pub mod ledger;
pub mod log_limit;
pub mod memory;
pub mod notify;
pub mod output;
pub mod partition;
pub mod pool;
pub mod position;
pub mod positions;
pub mod processing;
pub mod record;
pub mod recovery;
pub mod redrive;
pub mod rename;
pub mod requests;
pub mod schema;
pub mod sequence_number;
pub mod source;
pub mod status;
pub mod stream;
