"""How the commands end: the exit codes that scripts may rely on.

code  name         meaning
0     OK           it did what it was asked
1     FAILED       it could not; standard error says why
2     USAGE        the command line, or a setting, is wrong
3     NOT_FOUND    the object that was named does not exist
4     UNREACHABLE  the API server did not answer, or login failed
"""

from __future__ import annotations

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
