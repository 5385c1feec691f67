"""A git that talks to one remote: every request of it goes to an address that was checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from syncsvc.egress.policy import Egress
from syncsvc.exceptions import GitError, NotAskedError
from syncsvc.git.environment import environment
from syncsvc.git.errors import MovedError, NoConnectionError
from syncsvc.git.process import Context, Finished, GitProcess, ask
from syncsvc.git.redirects import MOST, redirect_target
from syncsvc.git.route import Route, routes_to
from syncsvc.git.url import place_of, scheme_of
from syncsvc.git.version import git_version, too_old
from syncsvc.types import ErrorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds whichever way leads to the remote.

    `context` has the environment beside what `config` and `git_dir` make of it. `ssh` gives the environment in which
    ssh connects to an address of that host and port within so many seconds. `timeout`, in seconds, is for finding
    addresses and for connecting.
    """

    egress: Egress
    context: Context
    config: Mapping[str, str]
    git_dir: Path | None
    timeout: float
    has_credential: bool
    ssh: Callable[[str, int, str, float], Mapping[str, str]]


class Access:
    """Where an address does not answer the next one is tried, and some redirects are followed.

    What has answered is used from then on.
    """

    def __init__(self, url: str, terms: Terms) -> None:
        self._terms = terms
        self._url = url
        self._redirects = 0
        self._routes = self._routes_to(url)

    def ask(
        self, arguments: Sequence[str], *wanted: str, adjusted: Callable[[Context], Context] = lambda context: context
    ) -> Finished:
        """What git says that is given these arguments, the remote's URL, and what is wanted of it.

        `adjusted` may change what it is started in.
        """
        if problem := too_old(git_version()):
            raise NotAskedError(ErrorKind.INTERNAL, problem)
        while True:
            command, context = self.command(arguments, wanted)
            try:
                return ask(command, adjusted(context))
            except NoConnectionError:
                if len(self._routes) == 1:
                    raise
                self._routes = self._routes[1:]
            except MovedError as moved:
                self._follow(moved)

    def start(self, arguments: Sequence[str], *, trace: str) -> GitProcess:
        """The same as a stream, which tries one way alone. `trace` is a variable of git's that traces besides."""
        command, context = self.command(arguments)
        return GitProcess(command, replace(context, traces=(*context.traces, trace)))

    def command(self, arguments: Sequence[str], wanted: Sequence[str] = ()) -> tuple[list[str], Context]:
        """git's arguments, and what it is started in, for the way that is tried next or has answered."""
        route, terms = self._routes[0], self._terms
        # upload-pack refuses another user's repository, and hears neither GIT_CONFIG_* nor -c of the git before it.
        options = ["--upload-pack=git -c safe.directory=* upload-pack"] if scheme_of(route.url) == "file" else []
        env = {
            **environment({**terms.config, **route.config}, git_dir=terms.git_dir),
            **terms.context.env,
            **route.env,
            **self._ssh(route),
        }
        aliases = {route.address: place_of(self._url)[0]} if route.address else {}
        context = replace(terms.context, env=env, url=self._url, aliases=aliases)
        return [*arguments, *options, "--", route.url, *wanted], context

    def _ssh(self, route: Route) -> Mapping[str, str]:
        if scheme_of(route.url) != "ssh":
            return {}
        # Several addresses share the time: git is ended where it is silent for longer.
        seconds = self._terms.timeout / len(self._routes)
        return self._terms.ssh(*place_of(route.url), route.address, seconds)

    def _follow(self, moved: MovedError) -> None:
        target = redirect_target(self._url, moved.location, has_credential=self._terms.has_credential)
        self._redirects += 1
        if target is None or self._redirects > MOST:
            raise moved
        try:
            self._routes = self._routes_to(target)
        except NotAskedError as refusal:  # the remote itself was asked
            raise GitError(refusal.kind, f"The remote answers with a redirect that is refused. {refusal}") from moved
        self._url = target

    def _routes_to(self, url: str) -> Sequence[Route]:
        terms = self._terms
        return routes_to(url, terms.egress, timeout=terms.timeout, interrupt=terms.context.interrupt)
