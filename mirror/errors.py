"""What keeps a command from its work. The text is for the operator: what is wrong, and what would be right."""


class StartError(Exception):
    """The command ends with this message and exit code."""

    exit_code = 1


class ConfigError(StartError):
    """What is wrong with the configuration, a line for each key."""

    exit_code = 2


class ListenError(StartError):
    """The address cannot be listened on."""


class NoServer(StartError):
    """There is no server to give a command to, or none that takes it: nothing is known of what was asked about."""

    exit_code = 3
