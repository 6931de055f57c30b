"""The decision core: what happens next in an execution, decided without I/O, clock or chance.

`Decision` holds the executions of one tree while events are applied to them; `decide` applies one event. What comes out is
new state, the rows that changed and the commands to issue. Time, ids and everything that only the database knows are
given in by a `View`; a question that it cannot answer yet is raised as `Missing`, and the caller decides again.
"""

from gregale.core.complete import LOST
from gregale.core.decide import Decision, Settings, Work, create_execution, decide
from gregale.core.errors import Conflict, InvalidInput, Missing, NotAllowed, NotFound, Rejected, WorkflowError
from gregale.core.events import (
    ActionDone,
    ActionUpdate,
    Event,
    Pause,
    Rerun,
    Resume,
    Skip,
    Start,
    Stop,
    Sweep,
    TimerFired,
    UpdateEnv,
)
from gregale.core.state import Child, Execution, RunAction, StartExecution, State, Task, Timer
from gregale.core.view import ActionInfo, Definition, Parameter, View

__all__ = [
    "LOST",
    "ActionDone",
    "ActionInfo",
    "ActionUpdate",
    "Child",
    "Conflict",
    "Decision",
    "Definition",
    "Event",
    "Execution",
    "InvalidInput",
    "Missing",
    "NotAllowed",
    "NotFound",
    "Parameter",
    "Pause",
    "Rejected",
    "Rerun",
    "Resume",
    "RunAction",
    "Settings",
    "Skip",
    "Start",
    "StartExecution",
    "State",
    "Stop",
    "Sweep",
    "Task",
    "Timer",
    "TimerFired",
    "UpdateEnv",
    "View",
    "Work",
    "WorkflowError",
    "create_execution",
    "decide",
]
