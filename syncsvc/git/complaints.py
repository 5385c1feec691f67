"""Table of the wordings of git, curl and OpenSSH, with their kinds and what a person can do.

A pattern is matched against one line, from the line's beginning: there the program speaks, while URLs, branches and
the words of others come later. Quoted text and the remote's URL are already taken out (`''`). A line that a remote sent
as text begins with "remote: ". The first rule that matches any line decides. Wordings of git 2.37 to 2.55.
"""

import re
from dataclasses import dataclass

from syncsvc.types import ErrorKind

# How curl's words are introduced: `fatal: unable to access '…': `, `error: RPC failed; curl 56 `.
_CURL = r"(?:fatal: unable to access ''.*?: |error: RPC failed; (?:HTTP [0-9]+ )?(?:curl [0-9]+ )?)"
_SAYS = r"(?:fatal|error): "
# What may end in the words of the operating system and is not about our files.
_NOT_FILES = r"(?!fatal: unable to access|error: RPC failed|error: cannot run|fatal: read error)"
_DAMAGE = (
    r"(?:bad (?:object|tree|commit|blob|tag|config|shallow|index|ref|signature)\b|bad object header|"
    r"loose object .*is corrupt|corrupt loose object|object file .*is empty|object corrupt or missing|"
    r"garbage at end of|file \S+ is (?:far too short|not a )|failed to validate delta base|"
    r"(?:unable to unpack|unable to parse|unable to read|[Cc]ould not read|cannot read|failed to read|"
    r"failed to parse|could not parse|couldn't parse|[Ff]ailed to traverse|missing|invalid) "
    r"(?:[0-9a-f]{40,64}|object|tree|commit|blob|parents|\S+ (?:header|object)|contents)\b|"
    r"inflate: |packed object .*is corrupt|packfile |pack \S+|index file |not a git repository: |"
    r"(?:hash|sha1|SHA1) mismatch|not a valid object|Not a valid object|not a tree object|"
    r"[0-9a-f]{40,64}: (?:object corrupt|not a)|\S*: ?object corrupt or missing|"
    r"refs/\S+ (?:does not point to a valid object|is broken|has neither a valid)|"
    r"\S+: (?:invalid sha1 pointer|not a valid|badRefContent)|"
    r"cannot stream|reference broken|revision walk setup failed|premature end of pack|"
    r"mismatched algorithms|Server does not support this repository's object format|"
    r"non-monotonic index|wrong index|improper|object .* is a \w+, not a \w+|"
    r"(?:''|\S+) did not send all necessary objects|remote did not send all necessary objects)"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """`words` may name groups of the pattern in braces, and `{setting}`, the one of the time limit.

    `hung_up` restricts the rule to a remote that did (True) or did not (False) end the call without an answer in git's
    protocol: then alone its own program's words, which ssh passes on as they are, are all that there is to go by.
    """

    pattern: re.Pattern[str]
    kind: ErrorKind
    words: str = ""
    at_remote: bool = False
    no_shallow: bool = False
    no_connection: bool = False
    hung_up: bool | None = None


def _rule(pattern: str, kind: ErrorKind, words: str = "", **flags: bool) -> Rule:
    return Rule(re.compile(pattern), kind, words, **flags)


HUNG_UP = re.compile(r"fatal: (?:Could not read from remote repository|[Tt]he remote end hung up upon initial contact)")


SENTENCES = {
    ErrorKind.GIT_NOT_FOUND: "The remote has no such repository, or hides it from this credential; check the URL.",
    ErrorKind.GIT_AUTH: (
        "The remote refused the credential, or needs one; many hosts also answer so where no such repository exists."
        " Check the URL, and give a credential that may read this repository."
    ),
    ErrorKind.GIT_CORRUPT: "git found damaged or missing objects; the mirror is rebuilt by the next run.",
    ErrorKind.GIT_TIMEOUT: "The remote took too long; it is tried again by itself. {setting} is the limit of silence.",
    ErrorKind.GIT_UNREACHABLE: "The remote cannot be reached; it is tried again by itself. Check URL and network.",
    ErrorKind.INTERNAL: "git failed in a way that is not known; read what it said and check the worker.",
}
AT_REMOTE = (
    "The remote's own repository is damaged or incomplete: objects are missing or unreadable there. Its owner can find"
    " them with `git fsck` and push them again; it is tried again by itself."
)
NO_BRANCH = "The branch is no longer on the remote; push it, or set this repository's branch to another."
NOT_GIT = (
    "The URL answers, but not as a git repository does (it may be a web page, or plain files); check the URL. The"
    " server must speak git's smart HTTP protocol, as `git http-backend` does."
)
BROKEN_OFF = "The connection to the remote broke off; it is tried again by itself."
_NOT_GIT_SPEECH = (
    "The remote answers, but with something else than git's protocol, such as the greeting of a shell or a page;"
    " check the URL and the remote. It is tried again by itself."
)
NO_HOST = "The remote cannot be reached: no host of this name is found. Check the URL and the worker's name service."
_NO_CONNECTION = (
    "The remote cannot be reached: no connection is made to its port. Check URL and network; it is tried again by"
    " itself."
)
_NOT_TRUSTED = (
    "The remote cannot be reached safely: its certificate is not trusted here. Give the CA's certificate to this"
    " repository, or to all with GIT_CA_FILE."
)
_BAD_CERTIFICATE = "The remote cannot be reached safely: its certificate has expired or is for another name; renew it."
_TLS = "The remote cannot be reached safely: the TLS connection failed. Check that the URL's port speaks https."
PROXY = "The remote cannot be reached: the proxy on the way refuses. Check the worker's proxy settings."
_MOVED = (
    "The remote answers with redirects that lead nowhere, or to a protocol that is not followed (http from https);"
    " set the URL that it has moved to."
)
_KEY = "ssh cannot use the private key ({reason}); give an unencrypted private key in OpenSSH's format."
_HOST_KEY = "The ssh host's key is not among the pinned known hosts; check it and pin the right one."
_HOST_KEY_CHANGED = (
    "The ssh host's key is not among the pinned known hosts: another one is pinned for this host. If the host's owner"
    " says that it has changed, pin the new one."
)
_NO_COMMON = (
    "The server offers only {what}s that this worker's ssh refuses as unsafe ({offer}); update the server or use https."
)
_SIGNATURE = (
    "The server takes only signatures that ssh refuses as unsafe (ssh-rsa, which is SHA-1); give an Ed25519 key, or"
    " update the server."
)
_SLOW_CONNECTION = (
    "The remote took too long to accept a connection (GIT_LS_REMOTE_TIMEOUT is the limit); it is tried again by itself."
    " Check host, port and network."
)
_NO_USER = (
    "ssh cannot run: the user id {uid}, which the worker runs as, has no entry in the worker's /etc/passwd; add one."
)
_NO_SSH = "ssh is not installed on this worker; install the OpenSSH client."
_NO_HELPER = (
    "git on this worker cannot speak this URL's protocol; install git with its http(s) part (git-remote-https)."
)
_NO_MEMORY = "git on this worker has too little memory for this repository; give the worker more."
_TOO_DEEP = (
    "The repository has folders that are nested deeper than this worker's git reads (core.maxTreeDepth); make them"
    " less deep."
)
_ALTERNATES = (
    "The remote keeps objects in another repository (alternates) that cannot be read there, or by plain http from here;"
    " repair objects/info/alternates on the remote, or serve it with git http-backend."
)
_NO_SHALLOW = "The remote cannot give a commit without its history (no shallow clones)."
_MOVED_ON = (
    "The remote named a commit that it then did not have: its branch moved meanwhile, one of its servers lags behind,"
    " or its repository is incomplete (`git fsck` there tells). It is tried again by itself."
)
_REFUSED_BY_REMOTE = "The remote refused, in its own words; it is tried again by itself."
_TOO_NEW = (
    "The remote's own git is too old for the format of this repository; update git there. It is tried again by itself."
)
_DUBIOUS = "The remote's git refuses the repository because its files belong to another user there; correct the owner."

_NOT_FOUND_SAID = (
    r"(?:remote: ?)?(?:ERROR: |conq: |Gitea: |Gogs: |Forgejo: |GitLab: |fatal: )?"
    r"(?:repository not found|repository does not exist|git repository not found|"
    r"the project you were looking for could not be found(?: or you don't have permission to view it)?|"
    r"the requested repository (?:either )?does not exist, or you do not have (?:access|permission to access it)|"
    r"the requested repository either does not exist or you do not have access.*|"
    r"(?:the )?repository ''? ?does not exist|repository does not exist or you do not have access|"
    r"cannot find repository: \S+|project not found(?:: \S+)?|not found\.? *\[EREPONOTFOUND\]|"
    r"TF401019: the git repository with name or identifier .* does not exist or you do not have permissions.*|"
    r"TF200016: the following project does not exist: .*)\.?$"
)
_AUTH_SAID = (
    r"(?:remote: ?)?\s*(?:ERROR: |Gitea: |Gogs: |Forgejo: |GitLab: )?"
    r"(?:public key authentication failed|unauthorized|access denied|repository access denied.*|"
    r"permission to \S+ denied to .*|you are not allowed to (?:download code from|access) this project|"
    r"you're using an RSA key with SHA-1, which is no longer allowed.*|"
    r"your account (?:is suspended|has been blocked).*|"
    r"the '?\S+'? organization has enabled or enforced SAML SSO.*|access token is expired.*|"
    r"deploy keys? (?:is|are) not allowed.*|this deploy key does not have .*)\.?$"
)

RULES: tuple[Rule, ...] = (
    # What the worker's git says of this machine.
    _rule(
        r"(?:fatal|error|warning): (?:.*: )?"
        r"(?P<reason>No space left on device|Disk quota exceeded|Read-only file system|Input/output error|"
        r"File too large)$",
        ErrorKind.WORKER_DISK,
        hung_up=False,
    ),
    _rule(
        _NOT_FILES
        + _SAYS
        + r"(?:.*: )?(?P<reason>Permission denied|Operation not permitted|Too many open files(?: in system)?)$",
        ErrorKind.WORKER_DISK,
        hung_up=False,
    ),
    _rule(r"error: (?P<reason>insufficient permission for adding )", ErrorKind.WORKER_DISK, hung_up=False),
    _rule(r"fatal: Out of memory", ErrorKind.INTERNAL, _NO_MEMORY, hung_up=False),
    _rule(
        r"(?:fatal|error): exceeded maximum allowed tree depth",
        ErrorKind.REPOSITORY_TOO_LARGE,
        _TOO_DEEP,
        hung_up=False,
    ),
    _rule(r"fatal: [Uu]nable to find remote helper", ErrorKind.INTERNAL, _NO_HELPER),
    _rule(r"error: cannot (?:run|exec) ssh: ", ErrorKind.INTERNAL, _NO_SSH),
    _rule(r"No user exists for uid (?P<uid>[0-9]+)", ErrorKind.INTERNAL, _NO_USER),
    # Over http.
    _rule(_CURL + r"(?:Operation too slow|.*[Tt]imed out|Timeout was reached)", ErrorKind.GIT_TIMEOUT),
    _rule(_CURL + r"Could not resolve (?:host|proxy)", ErrorKind.GIT_UNREACHABLE, NO_HOST),
    _rule(
        _CURL + r"(?:Failed to connect to|Could(?:n't| not) connect to|connect to \S+ port)",
        ErrorKind.GIT_UNREACHABLE,
        _NO_CONNECTION,
    ),
    _rule(
        _CURL + r"(?:Received HTTP code [0-9]+ from proxy|CONNECT tunnel failed|Proxy CONNECT aborted)",
        ErrorKind.GIT_UNREACHABLE,
        PROXY,
    ),
    _rule(
        _CURL + r"(?:Maximum \([0-9]+\) redirects followed|Protocol \S+ (?:not supported|disabled))",
        ErrorKind.GIT_NOT_FOUND,
        _MOVED,
    ),
    _rule(
        _CURL + r".*(?:issuer certificate|self[- ]signed certificate|certificate verify failed|verification failed)",
        ErrorKind.GIT_UNREACHABLE,
        _NOT_TRUSTED,
    ),
    _rule(
        _CURL + r".*(?:certificate has expired|not yet valid|certificate subject name|does not match target host)",
        ErrorKind.GIT_UNREACHABLE,
        _BAD_CERTIFICATE,
    ),
    _rule(_CURL + r".*(?:SSL|TLS|gnutls_|certificate)", ErrorKind.GIT_UNREACHABLE, _TLS),
    _rule(_CURL, ErrorKind.GIT_UNREACHABLE, BROKEN_OFF),
    _rule(r"fatal: unable to update url base from redirection", ErrorKind.GIT_NOT_FOUND, _MOVED),
    _rule(r"fatal: repository '' (?:not found|does not exist)$", ErrorKind.GIT_NOT_FOUND),
    _rule(
        r"fatal: (?:Authentication failed for|could not read (?:Username|Password) for) ''",
        ErrorKind.GIT_AUTH,
    ),
    _rule(r"fatal: \S*info/refs not valid: ", ErrorKind.GIT_NOT_FOUND, NOT_GIT),
    _rule(r"fatal: invalid server response; ", ErrorKind.GIT_UNREACHABLE, _NOT_GIT_SPEECH),
    _rule(
        r"warning: (?:alternate disabled by http.followRedirects|ignoring alternate )",
        ErrorKind.GIT_CORRUPT,
        _ALTERNATES,
        at_remote=True,
    ),
    _rule(
        r"(?:error: (?:Unable to find \S+ under|Unable to get pack (?:file|index)|File \S+ has bad hash|"
        r"File \S+ .*corrupt)|Cannot obtain needed )",
        ErrorKind.GIT_CORRUPT,
        AT_REMOTE,
        at_remote=True,
    ),
    _rule(
        r"fatal: (?:dumb http transport does not support shallow|Server does not support shallow )",
        ErrorKind.GIT_NOT_FOUND,
        _NO_SHALLOW,
        no_shallow=True,
    ),
    # Over ssh: OpenSSH's own words.
    _rule(r"Load key \"[^\"]*\": (?P<reason>.+)$", ErrorKind.GIT_AUTH, _KEY),
    _rule(
        r"(?:@ *WARNING: (?:REMOTE HOST IDENTIFICATION HAS CHANGED|POSSIBLE DNS SPOOFING)|"
        r"Host key for \S+ has changed and you have requested strict checking)",
        ErrorKind.GIT_AUTH,
        _HOST_KEY_CHANGED,
    ),
    _rule(r"(?:No \S+ host key is known for |Host key verification failed)", ErrorKind.GIT_AUTH, _HOST_KEY),
    _rule(
        r"Unable to negotiate with .*: no matching (?P<what>.+?) found\. Their offer: (?P<offer>\S*)",
        ErrorKind.GIT_UNREACHABLE,
        _NO_COMMON,
    ),
    _rule(r"(?!remote: )(?:\w+: )?no mutual signature (?:algorithm|supported)", ErrorKind.GIT_AUTH, _SIGNATURE),
    _rule(
        r"(?:\S+@\S+: )?Permission denied(?: \(|, please try again)|"
        r"Received disconnect from .*: Too many authentication failures|sign_and_send_pubkey: ",
        ErrorKind.GIT_AUTH,
    ),
    _rule(
        r"(?:ssh: connect to host .*: (?:Connection|Operation) timed out|(?:Connection|banner exchange).*timed out)",
        ErrorKind.GIT_TIMEOUT,
        _SLOW_CONNECTION,
        no_connection=True,
    ),
    _rule(
        r"(?:Timeout, server \S+ not responding|\S+\[[0-9]+: .*\]: errno=(?:Connection|Operation) timed out|"
        r"fatal: read error: Connection timed out)",
        ErrorKind.GIT_TIMEOUT,
    ),
    _rule(
        r"(?:ssh: Could not resolve hostname |fatal: [Uu]nable to look up )",
        ErrorKind.GIT_UNREACHABLE,
        NO_HOST,
    ),
    _rule(
        r"(?:ssh: connect to host |\S+\[[0-9]+: .*\]: errno=|fatal: unable to connect to )",
        ErrorKind.GIT_UNREACHABLE,
        _NO_CONNECTION,
        no_connection=True,
    ),
    # What the program at the other end says.
    _rule("(?i:" + _NOT_FOUND_SAID + ")", ErrorKind.GIT_NOT_FOUND, hung_up=True),
    _rule("(?i:" + _AUTH_SAID + ")", ErrorKind.GIT_AUTH, hung_up=True),
    _rule("fatal: remote error: (?i:" + _NOT_FOUND_SAID + ")", ErrorKind.GIT_NOT_FOUND),
    _rule("fatal: remote error: (?i:" + _AUTH_SAID + ")", ErrorKind.GIT_AUTH),
    _rule(
        r"fatal: remote error: (?:access denied or repository not exported|no such repository|service not enabled)",
        ErrorKind.GIT_NOT_FOUND,
    ),
    _rule(r"fatal: '' (?:does not appear to be a git repository|: not a git archive)", ErrorKind.GIT_NOT_FOUND),
    _rule(r"fatal: [Cc]ouldn't find remote ref ", ErrorKind.GIT_NOT_FOUND, NO_BRANCH),
    _rule(
        r"fatal: (?:detected dubious ownership in repository at|unsafe repository \()",
        ErrorKind.GIT_AUTH,
        _DUBIOUS,
    ),
    _rule(
        r"fatal: (?:Expected git repo version <= |unknown repository extensions? found)",
        ErrorKind.GIT_UNREACHABLE,
        _TOO_NEW,
    ),
    _rule(
        r"(?:remote: )?(?:error|fatal): "
        r"(?:unable to normalize alternate object path|object directory .* does not exist)",
        ErrorKind.GIT_CORRUPT,
        _ALTERNATES,
        at_remote=True,
    ),
    _rule(
        r"(?:fatal: remote error: (?:upload-pack: )?not our ref |"
        r"error: Server does not allow request for unadvertised)",
        ErrorKind.GIT_UNREACHABLE,
        _MOVED_ON,
    ),
    _rule(
        r"(?:remote: (?:(?:fatal|error): " + _DAMAGE + r"|aborting due to possible repository corruption)|"
        r"(?:remote: )?(?:error|fatal): git upload-pack: (?:git-pack-objects died|aborting due to possible))",
        ErrorKind.GIT_CORRUPT,
        AT_REMOTE,
        at_remote=True,
    ),
    _rule(r"fatal: remote error: ", ErrorKind.GIT_UNREACHABLE, _REFUSED_BY_REMOTE),
    # Objects that are damaged or missing, here or there: `Mirror` finds out where.
    _rule(_SAYS + _DAMAGE, ErrorKind.GIT_CORRUPT),
    # The rest of what a broken connection makes git say.
    _rule(
        r"fatal: (?:protocol error: (?:bad line length|unexpected )|invalid ls-refs response)",
        ErrorKind.GIT_UNREACHABLE,
        _NOT_GIT_SPEECH,
    ),
    _rule(
        r"(?:kex_exchange_identification|ssh_exchange_identification|ssh_dispatch_run_fatal|client_loop|"
        r"packet_write_wait|Bad packet length|Connection (?:closed|reset)|Connection to \S+ closed|Disconnected from)",
        ErrorKind.GIT_UNREACHABLE,
        BROKEN_OFF,
    ),
    _rule(
        r"(?:fetch-pack: unexpected disconnect|fatal: (?:early EOF|[Tt]he remote end hung up|expected '|expected flush|"
        r"fetch-pack: |protocol error|error in sideband|read error: |unable to write (?:request )?to remote|"
        r"packet write |unable to write (?:flush|delim|response end|stateless separator) packet|"
        r"remote helper '' aborted|error reading section header|git fetch-pack: )|"
        r"error: (?:RPC failed|index-pack died))",
        ErrorKind.GIT_UNREACHABLE,
        BROKEN_OFF,
    ),
    _rule(r"fatal: Could not read from remote repository", ErrorKind.GIT_UNREACHABLE),
)
