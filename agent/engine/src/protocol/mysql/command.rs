//! Commands of the client, and in which form the server answers each (MySQL internals manual, "Command Phase").

/// A command, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `COM_QUIT`: the server closes the connection.
    Quit,
    /// `COM_INIT_DB`: another database.
    InitDb,
    /// `COM_QUERY`.
    Query,
    /// `COM_FIELD_LIST`: the columns of a table.
    FieldList,
    /// `COM_STATISTICS`: a line of text.
    Statistics,
    /// `COM_CHANGE_USER`: logs in again.
    ChangeUser,
    /// `COM_STMT_PREPARE`.
    Prepare,
    /// `COM_STMT_EXECUTE`.
    Execute,
    /// `COM_STMT_BULK_EXECUTE` of MariaDB: once for each row of parameters.
    BulkExecute,
    /// `COM_STMT_SEND_LONG_DATA`: a part of a parameter, without an answer.
    SendLongData,
    /// `COM_STMT_CLOSE`, without an answer.
    Close,
    /// `COM_STMT_FETCH`: rows of a cursor.
    Fetch,
    /// `COM_RESET_CONNECTION`: statements are forgotten.
    ResetConnection,
    /// Any other that is answered by a result: its name.
    Other(&'static str),
    /// Replication and the like: what follows is another protocol.
    Replication,
}

/// In which form a command is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Results: each says whether another follows.
    Results,
    /// A statement's number, and the definitions of its parameters and columns.
    Prepared,
    /// Definitions and their end.
    Definitions,
    /// Rows and their end, without definitions.
    Rows,
    /// One packet of text.
    Text,
    /// The server checks who the client is.
    Login,
    /// None.
    Nothing,
}

impl Command {
    /// Returns the command that a byte stands for; none where it stands for none.
    pub(super) fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Quit,
            0x02 => Self::InitDb,
            0x03 => Self::Query,
            0x04 => Self::FieldList,
            0x05 => Self::Other("CREATE_DB"),
            0x06 => Self::Other("DROP_DB"),
            0x07 => Self::Other("REFRESH"),
            0x08 => Self::Other("SHUTDOWN"),
            0x09 => Self::Statistics,
            0x0a => Self::Other("PROCESS_INFO"),
            0x0c => Self::Other("PROCESS_KILL"),
            0x0d => Self::Other("DEBUG"),
            0x0e => Self::Other("PING"),
            0x11 => Self::ChangeUser,
            0x12 | 0x13 | 0x15 | 0x1e | 0x20 | 0x21 => Self::Replication,
            0x16 => Self::Prepare,
            0x17 => Self::Execute,
            0x18 => Self::SendLongData,
            0x19 => Self::Close,
            0x1a => Self::Other("STMT_RESET"),
            0x1b => Self::Other("SET_OPTION"),
            0x1c => Self::Fetch,
            0x1f => Self::ResetConnection,
            0xfa => Self::BulkExecute,
            _ => return None,
        })
    }

    /// Returns the form of the answer.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Quit | Self::SendLongData | Self::Close | Self::Replication => Form::Nothing,
            Self::FieldList => Form::Definitions,
            Self::Statistics => Form::Text,
            Self::ChangeUser => Form::Login,
            Self::Prepare => Form::Prepared,
            Self::Fetch => Form::Rows,
            Self::InitDb
            | Self::Query
            | Self::Execute
            | Self::BulkExecute
            | Self::ResetConnection
            | Self::Other(_) => Form::Results,
        }
    }

    /// Returns whether a packet of this command may be as long, first byte included.
    pub(super) fn allows(self, length: usize) -> bool {
        match self {
            Self::Quit | Self::Statistics | Self::ResetConnection => length == 1,
            Self::Other("PING" | "DEBUG" | "PROCESS_INFO") => length == 1,
            Self::Other("SHUTDOWN" | "REFRESH") => length <= 2,
            Self::Other("PROCESS_KILL" | "STMT_RESET") | Self::Close => length == 5,
            Self::Other("SET_OPTION") => length == 3,
            Self::Fetch => length == 9,
            Self::Execute => length >= 10,
            Self::BulkExecute | Self::SendLongData => length >= 7,
            Self::InitDb | Self::FieldList | Self::ChangeUser | Self::Other(_) => {
                (2..=0xffff).contains(&length)
            }
            Self::Query | Self::Prepare => length >= 1,
            Self::Replication => true,
        }
    }
}
