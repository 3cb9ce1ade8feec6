"""Help pages of commands: value names for people instead of Python types."""

from typing import Any

VALUE_NAMES = {"str": "TEXT", "int": "NUMBER", "float": "NUMBER", "list[str]": "TEXT", "Path": "PATH"}


def simplify_value_names(command: Any) -> Any:
    """Name values in the help of a command and of its subcommands: TEXT for `<str>`, NUMBER for `<int range>`, nothing
    for `<bool>`. Return the command, which is changed.
    """
    import typer

    for parameter in command.params:
        _name(parameter, typer.Context(command))
    help_option = command.get_help_option(typer.Context(command))
    if help_option is not None:
        help_option.display_type_rich = lambda ctx: ""  # noqa: ARG005
    for one in getattr(command, "commands", {}).values():
        simplify_value_names(one)
    return command


def _name(parameter: Any, context: Any) -> None:
    """Set the value name of one parameter."""
    if parameter.param_type_name == "argument":
        parameter.metavar = parameter.metavar or parameter.name.upper()
    elif parameter.metavar is not None:
        return
    label = str(parameter.display_type(context)).strip("<>")
    if label == "bool":
        name = ""
    elif label.endswith(" range"):
        name = VALUE_NAMES.get(label.removesuffix(" range"), "NUMBER")
    else:
        name = VALUE_NAMES.get(label, label if "|" in label else label.upper())
    parameter.display_type_rich = lambda ctx: name  # noqa: ARG005
