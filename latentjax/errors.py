"""The one error that means "the user's input is wrong", and errors of others in one line."""


class InputError(Exception):
    """Bad input from the user; launchers print it as one line and exit with 2.

    Args:
        where: the file, folder, flag or config field at fault.
        what: what is wrong with it.
        todo: what the user can do about it.

    Example: ``InputError("latents/a.json", "has 127 numbers in 'latent', expected 128",
    "use latents made for this generator")``.
    """

    def __init__(self, where: object, what: str, todo: str):
        self.where, self.what, self.todo = str(where), what, todo
        super().__init__(f"{where}: {what}; {todo}")


def first_line(error: BaseException) -> str:
    """What an exception says, on one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
