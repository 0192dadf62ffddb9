"""The words for every number on a card: units, meanings, names in English and Chinese, what to do next.

Plain data for the host: SPEC.md's tables, the card viewer, the hall's messages. No meter carries this module;
a firmware build leaves it out, and nothing portable may import it. The reasons behind the sentences stand in
docs/SPEC.md and docs/DESIGN.md. A test proves that every field, bit and code has words, and that no words
are left for something that is gone.
"""

from gascard import codes, records, service, tools
from gascard.records import IDENTITY, ORDER, REPORT_DATA

RECORDS = {
    "identity": IDENTITY,
    "order": ORDER,
    "report": REPORT_DATA,
    "transfer": tools.TRANSFER,
    "management": tools.MANAGEMENT,
    "setting": tools.SETTING,
    "key": tools.KEY_BLOCK,
}

_MINUTES = "min since 2000-01-01 UTC"
_TOOL_VERSION = ("", "Version of the tool key that made the MAC; a meter with keys of another one answers KEY_VERSION.")
_EXPIRES = (_MINUTES, "From the minute after this one on the card is EXPIRED; 0 is never.")
_MADE = (_MINUTES, "When the hall made the frame.")
_TOOL_MASK = ("", "The card's 3-byte password, masked below the tool key with this card's number.")

# Record -> field -> (unit, meaning). The unit is empty where a number only names or counts.
FIELD_MEANINGS: dict[str, dict[str, tuple[str, str]]] = {
    "identity": {
        "mark": (
            "",
            "Says that the card belongs to this system at all: always 69 hex; anything else is NOT_OURS.",
        ),
        "format": (
            "",
            "Version of the identity's own layout; a meter reads only the version it was built for.",
        ),
        "region": (
            "",
            "The gas company's region, whose root key stands behind every MAC on the card; FFFF is for tests.",
        ),
        "kind": ("", "What sort of card this is: one of the card kinds."),
        "card": (
            "",
            "The card's number, unique in its region; every MAC and the password's mask are made with it.",
        ),
        "issue_batch": (
            "",
            "The lot of blank cards this one was issued from, so that a bad lot can be found again.",
        ),
        "crc": (
            "",
            "CRC-16/X.25 over the eleven bytes before it. There is no MAC here: those of the frames cover "
            "card number and region, and the kind only says where to look.",
        ),
    },
    "order": {
        "meter": (
            "",
            "The one meter this order is for, 14 digits; any other meter answers METER and takes nothing.",
        ),
        "account": (
            "",
            "The customer's account, 10 digits; the meter stores it at binding and only shows it.",
        ),
        "binding": (
            "",
            "How often the meter has been bound to an account, this order's binding included; an opening "
            "order carries the meter's own number plus one, every other order carries its own.",
        ),
        "replacement": (
            "",
            "How often the customer's card has been replaced; a number below the meter's is a card that "
            "was reported lost, and is REPLACED.",
        ),
        "key_version": (
            "",
            "Version of the meter's keys that made the MAC; compared before a lockout token is spent.",
        ),
        "sequence": (
            "",
            "Number of this order within its binding (购气次数); only one above the meter's is loaded.",
        ),
        "bought_total": (
            "pulse",
            "Everything credited under this binding with this order included; the meter takes the greater "
            "of its own and this one, and lowers its own only for a refund order.",
        ),
        "amount": (
            "pulse",
            "The gas of this order alone, negative for a refund: for slips and displays, never credited.",
        ),
        "correction_total": (
            "pulse",
            "Signed sum of all approved corrections of drift in this binding; it is taken off the "
            "remaining gas, so a make-up for pulses counted in excess is negative.",
        ),
        "pulse_weight": (
            "decimals of a m³",
            "Decimals of a m³ in one pulse: 0 is 1 m³, 1 is 0.1 m³, 2 is 0.01 m³; a meter of another "
            "weight answers WEIGHT.",
        ),
        "alarm": (
            "pulse",
            "Remaining gas at which the valve shuts once as a warning; taken only with the flag parameters.",
        ),
        "ceiling": (
            "pulse",
            "A card is not loaded while the remaining gas is above this; refunds are exempt. Taken only "
            "with the flag parameters.",
        ),
        "overdraft": (
            "pulse",
            "How far below zero the remaining gas may fall before the valve shuts; taken only with the "
            "flag parameters.",
        ),
        "over_flow_seconds": (
            "s",
            "Two pulses closer together than this are more flow than the meter is sized for; taken only "
            "with the flag parameters.",
        ),
        "time": (
            "min since 2000-01-01 UTC",
            "When the hall made the order, in minutes because seconds would outgrow a small integer in "
            "2034; the meter keeps the latest it has seen.",
        ),
        "psc_mask": (
            "",
            "The card's 3-byte password, masked with the meter's wrap key and this card's number, so that "
            "no meter holds a key that opens other cards.",
        ),
        "flags": ("bits", "What sort of order this is: the sum of the order flags; the other bits are 0."),
    },
    "report": {
        "report_number": (
            "",
            "Rises with each report the meter writes and is stored before the card is written; the hall "
            "lets nothing move on a report whose (binding, report number) is below the last it saw.",
        ),
        "meter": ("", "The meter that speaks, 14 digits."),
        "binding": (
            "",
            "The meter's binding number: how often it has been bound; it never falls, not even by a clear.",
        ),
        "replacement": ("", "The highest replacement number the meter has accepted in this binding."),
        "versions": (
            "",
            "Order format versions the meter reads: high nibble the newest, low nibble the oldest; the "
            "hall writes no other.",
        ),
        "sequence": (
            "",
            "Number of the newest order loaded in this binding: the hall's proof that it arrived.",
        ),
        "bought_total": ("pulse", "Everything credited under this binding."),
        "correction_total": ("pulse", "The signed sum of corrections the meter has taken in this binding."),
        "register": ("pulse", "All pulses counted since manufacture; never set, never reset, never wraps."),
        "used": (
            "pulse",
            "Pulses counted under this binding: register less register at binding. Remaining gas is bought "
            "total less used less correction total.",
        ),
        "index": (
            "pulse",
            "What the display shows as the counter's reading: register plus index offset, modulo the wheels.",
        ),
        "status": ("bits", "What holds at the moment of writing: the sum of the status bits."),
        "last_code": (
            "",
            "Result code of the card session before the one that wrote this report, as its absolute value "
            "(0 is OK, 17 is MAC); after a restart the last one that was stored.",
        ),
        "battery": ("20 mV", "Battery voltage in steps of 20 mV; 0 if it has not been measured."),
        "time": ("min since 2000-01-01 UTC", "The meter's clock when it wrote the report."),
        "valve_moves": (
            "",
            "Movements of the valve since manufacture, both directions; stops at its highest number.",
        ),
        "valve_failures": (
            "",
            "Movements that did not reach their end within the time limit; stops at its highest number.",
        ),
        "boots": ("", "How often the firmware has started; stops at its highest number."),
        "power_failures": (
            "",
            "Boots of which the previous run ended without the power-fail warning: each may have cost the "
            "register one pulse. Stops at its highest number.",
        ),
        "magnet_events": ("", "How often a strong magnet was met; stops at its highest number."),
        "over_flow_count": ("", "How often flow was above the meter's size; stops at its highest number."),
        "alarm": ("pulse", "The alarm threshold in force."),
        "ceiling": ("pulse", "The ceiling in force."),
        "overdraft": ("pulse", "The overdraft in force."),
        "over_flow_seconds": ("s", "The over-flow limit in force: least time between two pulses."),
    },
    "transfer": {
        "meter": ("", "The old meter, whose binding this card ends, 14 digits; it alone takes this frame."),
        "binding": ("", "The old meter's binding, which must be its own."),
        "key_version": ("", "Version of the old meter's keys, which made the MAC and the two masks."),
        "new_meter": ("", "The meter the gas goes to, 14 digits; it takes the transfer-in order of the same card."),
        "new_binding": ("", "The binding the new meter begins with it: one above its last."),
        "transfer_key": (
            "",
            "The transfer's key, masked for the old meter, this binding of it and this new binding: it makes the MAC "
            "of the final record.",
        ),
        "time": _MADE,
        "psc_mask": ("", "The card's 3-byte password, masked for the old meter with this card's number."),
    },
    "management": {
        "key_version": _TOOL_VERSION,
        "expires": _EXPIRES,
        "time": _MADE,
        "psc_mask": _TOOL_MASK,
    },
    "setting": {
        "key_version": _TOOL_VERSION,
        "meter": ("", "The meter to set, 14 digits; 14 zeros are every meter of the region."),
        "service_number": (
            "",
            "Rises with each setting card of the region; a meter refuses one below the last it took and changes "
            "nothing for an equal one.",
        ),
        "expires": _EXPIRES,
        "time": _MADE,
        "psc_mask": _TOOL_MASK,
        "what": ("bits", "What is set: the sum of the setting bits; the fields of the others are not looked at."),
        "clock": (_MINUTES, "What the meter's clock is put to."),
        "index": ("pulse", "What the display is to show as the counter's reading."),
        "report": ("bits", "Guards whose tripping goes into the log, 1 shifted by the guard's number."),
        "shut": ("bits", "Guards whose tripping shuts the valve."),
        "pause_seconds": ("s", "A longer gap between two pulses is a pause."),
        "over_flow_seconds": ("s", "Gaps below this are over-flow, where the account names no limit of its own."),
        "over_flow_for": ("s", "So long over-flow must last; 0 switches the guard off."),
        "large_flow_gap": ("ms", "Gaps below this are abnormally large flow."),
        "large_flow_for": ("s", "So long it must last; 0 switches the guard off."),
        "small_flow_gap": ("s", "Gaps from this on, and no pause, are small flow."),
        "small_flow_hours": ("h", "So long it must last; 0 switches the guard off."),
        "long_flow_minutes": ("min", "So long gas may flow without a pause, 16 666 at most; 0: guard off."),
        "idle_days": ("d", "After so long without a pulse the valve wants exercise; 0 switches the guard off."),
        "past_valve_pulses": ("pulse", "More than these while the valve is shut are flow past it."),
        "battery_low": ("20 mV", "Below this the battery is low: a warning; 0 is never."),
        "battery_empty": ("20 mV", "Below this it is empty: the valve shuts; 0 is never."),
    },
    "key": {
        "meter": ("", "The one meter these keys are for, 14 digits."),
        "key_version": ("", "Version of the keys it brings; a meter takes only one above its own, 0 before the first."),
        "key": ("", "Km of this version, masked for the key the meter has now."),
        "tool_key": ("", "Kt of this version, masked likewise."),
        "time": _MADE,
        "psc_mask": ("", "The card's 3-byte password, masked below the key the meter has now."),
    },
}

# Record -> fields that are keys or passwords under a mask: no program shows them.
SECRET_FIELDS: dict[str, tuple[str, ...]] = {
    "order": ("psc_mask",),
    "transfer": ("transfer_key", "psc_mask"),
    "management": ("psc_mask",),
    "setting": ("psc_mask",),
    "key": ("key", "tool_key", "psc_mask"),
}

# Order flag -> (name, meaning).
FLAG_MEANINGS: dict[int, tuple[str, str]] = {
    records.FLAG_REFUND: (
        "refund",
        "Money went back: the bought total may fall, as long as nothing used is taken (退气).",
    ),
    records.FLAG_GIFT: ("gift", "Gas given free, approved (赠气)."),
    records.FLAG_MAKEUP: ("make_up", "Gas given back for a proven loss, approved, with a reason (补气)."),
    records.FLAG_PARAMETERS: (
        "parameters",
        "Alarm, ceiling, overdraft and over-flow of this order are to be taken.",
    ),
}

# Bit of a setting card's what -> (name, meaning).
SETTING_MEANINGS: dict[int, tuple[str, str]] = {
    tools.SET_CLOCK: ("clock", "The meter's clock, of any meter."),
    tools.SET_INDEX: ("index", "The shown index, of one named meter that is bound to nobody."),
    tools.SET_GUARDS: ("guards", "Limits and enable bits of the guards, of meters that are bound to nobody."),
}

# Status bit of a report -> (name, meaning).
STATUS_MEANINGS: dict[int, tuple[str, str]] = {
    records.SHUT_UNBOUND: ("unbound", "The meter is bound to no account."),
    records.SHUT_ZERO: ("zero", "The gas and the overdraft are used up."),
    records.SHUT_ALARM: ("alarm", "Remaining gas has reached the alarm and nobody has answered it yet."),
    records.SHUT_STORE_LOST: (
        "store_lost",
        "Both copies of a record cannot be read; only a recovery order helps.",
    ),
    records.SHUT_REGISTER_END: ("register_end", "The register has reached the last number it can hold."),
    records.SHUT_FAULT: (
        "fault",
        "The firmware met a case it was not built for; the first cause is in the log.",
    ),
    records.SHUT_POWER: ("power_going", "The supply is going; the valve was shut on the stored charge."),
    records.SHUT_MAGNET: ("magnet", "A strong magnet holds or held the valve shut."),
    records.SHUT_BATTERY: ("battery_empty", "The battery is too low to keep the valve open safely."),
    records.SHUT_OVER_FLOW: ("over_flow", "More gas flowed, for longer, than the meter's size allows."),
    records.SHUT_LARGE_FLOW: ("large_flow", "Abnormally much gas flowed: a pipe may have burst."),
    records.SHUT_SMALL_FLOW: ("small_flow", "A little gas flowed for hours without a pause: a leak."),
    records.SHUT_LONG_FLOW: ("long_flow", "Gas flowed without a pause for longer than allowed."),
    records.SHUT_PAST_VALVE: ("past_valve", "Gas flows though the valve is shut."),
    records.SHUT_SENSOR: ("sensor_fault", "The counter's sensor cannot be trusted, or was led backwards."),
    records.SHUT_COVER: ("cover", "The cover is open, or was."),
    records.STATUS_VALVE_OPEN: ("valve_open", "The valve stands open."),
    records.STATUS_VALVE_FAULT: (
        "valve_fault",
        "The valve did not arrive, or its motor drew no current, three times over; it waits until somebody asks.",
    ),
    records.STATUS_KEY_NEEDED: (
        "key_needed",
        "Nothing keeps the valve shut but that nobody has pressed the key.",
    ),
    records.STATUS_LOCKED_OUT: (
        "locked_out",
        "The tokens for judging cards are used up; they return with time.",
    ),
    records.STATUS_BATTERY_LOW: ("battery_low", "The battery is low: to be changed soon."),
    records.STATUS_SENSOR: ("sensor", "A reed does not move with the other, or both moved at once."),
}

# identity.kind -> (name, English, 中文).
CARD_KINDS: dict[int, tuple[str, str, str]] = {
    records.CARD_CUSTOMER: ("customer", "customer card", "用户卡"),
    records.CARD_TRANSFER: ("transfer", "transfer card", "转移卡"),
    records.CARD_CLEAR: ("clear", "clear card", "清零卡"),
    records.CARD_MANAGEMENT: ("management", "management card", "管理卡"),
    records.CARD_SETTING: ("setting", "setting card", "设置卡"),
    records.CARD_KEY: ("key", "key card", "密钥卡"),
    records.CARD_TEST: ("test", "test card", "测试卡"),
}

# Kind byte of a frame -> (name, English, 中文).
FRAME_KINDS: dict[int, tuple[str, str, str]] = {
    records.ORDER_OPENING: ("opening", "opening order: binds the meter and loads the first gas", "开户"),
    records.ORDER_USER: ("user", "user order: a purchase, gift, make-up or refund for a bound meter", "购气"),
    tools.ORDER_CLEAR: ("clear", "clear order: ends the meter's binding", "清零"),
    tools.ORDER_TEST: ("test", "test order: gas for a test of a meter that was never bound", "测试用气"),
    tools.TRANSFER_IN: ("transfer_in", "transfer-in order: binds the new meter and loads the old one's gas", "转入"),
    tools.TRANSFER_OUT: ("transfer_out", "transfer-out order: ends the old meter's binding", "转出"),
    tools.MANAGE: ("management", "management order: has any meter of the region write a report", "检查"),
    tools.SET: ("setting", "setting order: clock, shown index, guards", "设置"),
    tools.KEY: ("key", "key block: gives one meter its keys", "密钥下装"),
    records.REPORT: ("report", "report of the meter to the hall", "回写"),
    tools.FINAL: ("final", "final record: the report that closes a binding", "结清记录"),
}

# Code -> (name, what it means, 中文, what the person does next).
CODES: dict[int, tuple[str, str, str, str]] = {
    codes.OK: (
        "OK",
        "Done: the card's order is loaded and the report written.",
        "成功",
        "Nothing; take the card out.",
    ),
    codes.REPEAT: (
        "REPEAT",
        "This very order is loaded already; nothing changed.",
        "该次购气已充入",
        "Nothing; the gas is on the meter. To load more, buy at the hall.",
    ),
    codes.NO_CARD: (
        "NO_CARD",
        "Nothing in the slot answers like a card of this kind.",
        "无卡或卡插反",
        "Take the card out, look at its contacts and which way round it is, and insert it again.",
    ),
    codes.NOT_OURS: (
        "NOT_OURS",
        "The chip is of the right kind but bears no mark of this system.",
        "非本系统卡",
        "Use the card the gas company gave you; at the hall, check the stock the card came from.",
    ),
    codes.SHAPE: (
        "SHAPE",
        "A frame or field has a form that nothing of this system writes.",
        "卡数据格式错误",
        "Take the card to the hall to be checked and written again.",
    ),
    codes.CRC: (
        "CRC",
        "The data are damaged: they do not agree with their own checksum.",
        "卡数据损坏",
        "Insert the card again; if it stays so, take it to the hall to be written again or replaced.",
    ),
    codes.VERSION: (
        "VERSION",
        "The card is written in a format version this reader does not know.",
        "卡格式版本不支持",
        "Take the card to the hall: it must be written in the version the meter's report names.",
    ),
    codes.REGION: (
        "REGION",
        "The card belongs to another region.",
        "非本区域卡",
        "Use the card of the company that supplies this meter.",
    ),
    codes.KIND: (
        "KIND",
        "A genuine sort of card or frame that is not served here.",
        "卡类型不支持",
        "Use a customer card; staff use a meter that serves this sort.",
    ),
    codes.METER: (
        "METER",
        "The order is for another meter.",
        "表号不符",
        "Insert your own card; at the hall, compare the number on the meter with the account.",
    ),
    codes.ALREADY_BOUND: (
        "ALREADY_BOUND",
        "An opening order for a meter that is bound already.",
        "表已开户",
        "The hall checks whose meter this is; it must be cleared before it can be opened again.",
    ),
    codes.NOT_BOUND: (
        "NOT_BOUND",
        "The meter has not been opened; a user order cannot be loaded.",
        "表未开户",
        "Insert the opening card first; the hall checks which card was handed out.",
    ),
    codes.BINDING: (
        "BINDING",
        "The order belongs to another binding of this meter.",
        "绑定号不符",
        "Take the card to the hall: it was written before the meter was cleared, or for a later opening.",
    ),
    codes.REPLACED: (
        "REPLACED",
        "The card has been replaced by a newer one.",
        "卡已被补换",
        "Use the replacement card; hand the old one in at the hall.",
    ),
    codes.WEIGHT: (
        "WEIGHT",
        "The order counts in another pulse weight than the meter.",
        "脉冲当量不符",
        "The hall booked this meter with a pulse weight it does not have: the meter never loads such an order.",
    ),
    codes.KEY_VERSION: (
        "KEY_VERSION",
        "The order was made with another version of the meter's keys.",
        "密钥版本不符",
        "The hall writes the order with the meter's key version, or a key card brings the meter up to date.",
    ),
    codes.LOCKED_OUT: (
        "LOCKED_OUT",
        "Too many forged cards were tried; cards are not judged for a while.",
        "读卡已锁定",
        "Wait the minutes the display shows, then insert the genuine card.",
    ),
    codes.MAC: (
        "MAC",
        "The data are whole but not made by the key they claim: forged, copied from another card, or of another key.",
        "卡校验失败",
        "Take the card to the hall; staff keep it and report it.",
    ),
    codes.OLDER: (
        "OLDER",
        "The order is older than the one the meter has loaded.",
        "卡数据旧于表内数据",
        "Take the card to the hall to be brought up to date; no gas is lost.",
    ),
    codes.SEQUENCE_CONFLICT: (
        "SEQUENCE_CONFLICT",
        "Another order with the same number is loaded already.",
        "购气次数冲突",
        "Take the card to the hall: two orders were made with one number, the next must take a new one.",
    ),
    codes.REFUND_TOO_LARGE: (
        "REFUND_TOO_LARGE",
        "The refund would take back gas that has been used.",
        "退气量大于剩余气量",
        "The hall cancels this refund and makes one within what the meter's report shows.",
    ),
    codes.CEILING: (
        "CEILING",
        "The meter still holds more gas than its ceiling allows; the gas stays on the card.",
        "剩余气量高于充值上限",
        "Use gas until the remaining amount is at the ceiling, then insert the card again.",
    ),
    codes.RANGE: (
        "RANGE",
        "A value lies outside what a meter or card can hold.",
        "数值超出范围",
        "The hall checks the amount; a meter near the end of its totals is cleared and opened again.",
    ),
    codes.NUMBER_USED_UP: (
        "NUMBER_USED_UP",
        "A number that may only rise has reached its end.",
        "编号已用尽",
        "The hall clears the meter and opens it again, or exchanges it.",
    ),
    codes.CARD_BARRED: (
        "CARD_BARRED",
        "This card's password was refused before; it is not tried again until the hall has put its error "
        "counter right.",
        "卡密码曾被拒绝",
        "Take the card to the hall for a card check.",
    ),
    codes.PASSWORD_REFUSED: (
        "PASSWORD_REFUSED",
        "The data are genuine, the chip is not the one they were written for; nothing was loaded.",
        "卡密码错误",
        "Take the card to the hall; do not insert it again, each try brings its lock nearer.",
    ),
    codes.REPORT_NOT_WRITTEN: (
        "REPORT_NOT_WRITTEN",
        "The gas is loaded; the card could not take the report.",
        "已充值,回写失败",
        "Take the card to the hall for a check before the next purchase.",
    ),
    codes.CARD_OUT: (
        "CARD_OUT",
        "The card was pulled before the session was over.",
        "卡拔出过早",
        "Insert the card again and leave it in until the display is done.",
    ),
    codes.STORE_LOST: (
        "STORE_LOST",
        "Both copies of one of the meter's records are unreadable; the valve is shut.",
        "表内数据丢失",
        "Call the company: only a recovery order puts the meter back into service.",
    ),
    codes.REGISTER_END: (
        "REGISTER_END",
        "The register has reached the last number it can hold.",
        "累计量已到上限",
        "Call the company: the meter must be exchanged.",
    ),
    codes.FAULT: (
        "FAULT",
        "The firmware met a case it was not built for; the valve is shut.",
        "表故障",
        "Call the company and give this code; the event log holds the first cause.",
    ),
    codes.VALVE_STUCK: (
        "VALVE_STUCK",
        "The valve did not move as it was told, three times over.",
        "阀门故障",
        "Press the key once; if the code comes back, call the company: the valve must be looked at, it may stand open.",
    ),
    codes.SENSOR_FAULT: (
        "SENSOR_FAULT",
        "The counter's sensor cannot be trusted: a reed is dead, both moved at once, or the wheel was led backwards.",
        "计数传感器故障",
        "Press the key; the company compares index and register, and changes the sensor if the code comes back.",
    ),
    codes.MAGNET: (
        "MAGNET",
        "A strong magnet is at the meter, or was.",
        "强磁干扰",
        "Take away whatever is magnetic, then press the key; if nobody knows of any, the company looks at the meter.",
    ),
    codes.COVER_OPEN: (
        "COVER_OPEN",
        "The cover is open, or was.",
        "表盖打开",
        "Close the cover and press the key; if the customer did not open it, the company looks at meter and seals.",
    ),
    codes.BATTERY_EMPTY: (
        "BATTERY_EMPTY",
        "The battery is too low to move the valve safely.",
        "电池电量不足,已关阀",
        "Put in a new battery, then press the key; the gas on the meter is kept.",
    ),
    codes.OVER_FLOW: (
        "OVER_FLOW",
        "More gas flowed, for longer, than the meter's size allows.",
        "超流量关阀",
        "Turn some appliances off, then press the key; if it comes back, the company checks the size of the meter.",
    ),
    codes.LARGE_FLOW: (
        "LARGE_FLOW",
        "Abnormally much gas flowed: a pipe or hose may have burst.",
        "异常大流量关阀",
        "Do not press the key: close the tap before the meter, air the room, look at the hoses and call the company.",
    ),
    codes.SMALL_FLOW: (
        "SMALL_FLOW",
        "A little gas flowed for hours without a pause: there may be a leak.",
        "异常小流量关阀",
        "Look for a flame left burning; if there was none, do not press the key, air the room and call the company.",
    ),
    codes.LONG_FLOW: (
        "LONG_FLOW",
        "Gas flowed without a pause for longer than allowed.",
        "持续用气超时关阀",
        "Make sure that an appliance was on and is meant to be, then press the key.",
    ),
    codes.PAST_VALVE: (
        "PAST_VALVE",
        "Gas was counted though the valve is shut.",
        "关阀后仍有流量",
        "Close the tap before the meter and call the company: the valve leaks.",
    ),
    codes.BATTERY_LOW: (
        "BATTERY_LOW",
        "The battery is low; the meter still works.",
        "电池电量低",
        "Change the battery soon.",
    ),
    codes.CARD_FULL: (
        "CARD_FULL",
        "The management card holds two reports that nobody has read yet.",
        "管理卡已满",
        "Read the card at the hall, then come back with it.",
    ),
    codes.NO_FINAL_RECORD: (
        "NO_FINAL_RECORD",
        "The transfer card bears no final record of the old meter yet.",
        "转移卡尚未插入旧表",
        "Put the card into the old meter first and leave it in until the display is done.",
    ),
    codes.EXPIRED: (
        "EXPIRED",
        "The tool card's time is over.",
        "工具卡已过期",
        "Have a new one written at the hall.",
    ),
    codes.TEST_GAS: (
        "TEST_GAS",
        "This would be more test gas than a meter gives away in its whole life.",
        "测试气量超限",
        "Put the meter into service with an opening card.",
    ),
    codes.NOT_UNBOUND: (
        "NOT_UNBOUND",
        "Only a meter that is bound to nobody takes this: guards and shown index of any, test gas of a new one.",
        "仅限未开户的表",
        "Set the meter before its opening card, or after a clear.",
    ),
    codes.ONE_TRY_LEFT: (
        "ONE_TRY_LEFT",
        "The tool card has one password try left or none; nothing was done.",
        "工具卡密码次数不足,未执行",
        "Have the card checked at the hall, or a new one written.",
    ),
}

# The order in which an order is judged (RULES 1): the first rule broken names the answer. Everything before LOCKED_OUT
# costs no token, everything before MAC is told to strangers, nothing after MAC is.
JUDGING_ORDER = (
    codes.NOT_OURS,
    codes.SHAPE,
    codes.CRC,
    codes.VERSION,
    codes.REGION,
    codes.KIND,
    codes.METER,
    codes.NOT_BOUND,
    codes.ALREADY_BOUND,
    codes.NUMBER_USED_UP,
    codes.BINDING,
    codes.REPLACED,
    codes.WEIGHT,
    codes.KEY_VERSION,
    codes.LOCKED_OUT,
    codes.MAC,
    codes.OLDER,
    codes.SEQUENCE_CONFLICT,
    codes.RANGE,
    codes.REFUND_TOO_LARGE,
    codes.CEILING,
)

# What a meter counts of itself and tells at its service port: field of service.COUNTERS -> (unit, meaning).
COUNTER_MEANINGS: dict[str, tuple[str, str]] = {
    "boots": ("", "How often the firmware has started."),
    "power_failures": ("", "Boots of which the previous run ended without the power-fail warning."),
    "brown_outs": ("", "How often the supply gave its warning and came back before it was gone."),
    "magnet_events": ("", "How often a strong magnet was met."),
    "over_flow_count": ("", "How often over-flow or abnormally large flow lasted as long as its limit."),
    "valve_moves": ("", "Whole movements of the valve, both directions."),
    "valve_failures": ("", "Movements that did not arrive, or whose motor drew no current."),
    "exercises": ("", "How often the valve was moved because no gas had flowed for long."),
    "travel_ms": ("ms", "Travel of the last whole movement; 0 if there was none since power-up."),
    "uncounted": ("pulse", "Pulses told since power-up that the register could not take."),
    "battery_mv": ("mV", "The battery as it was last measured; 0 if it has not been."),
}

# Identifier of a read at the service port -> (name, 中文, body of the request, body of the answer).
SERVICE_READS: dict[int, tuple[str, str, str, str]] = {
    service.READ_STATUS: (
        "READ_STATUS",
        "读状态",
        "",
        "the data of a report (section 5) as of now; `report_number` is the last that was used, `last_code` the last "
        "card's",
    ),
    service.READ_COUNTERS: ("READ_COUNTERS", "读计数", "", "COUNTERS"),
    service.READ_LOG: (
        "READ_LOG",
        "读事件记录",
        "number of the first entry wanted (3), 0: the newest",
        f"the newest number (3), then entries (section 10.5) from that number down, at most {service.LOG_ENTRIES}",
    ),
}

# Error number in the answer to a read -> (name, meaning).
SERVICE_ERRORS: dict[int, tuple[str, str]] = {
    service.ERROR_IDENTIFIER: ("ERROR_IDENTIFIER", "There is no such identifier."),
    service.ERROR_BODY: ("ERROR_BODY", "The request's body is not the one this identifier has."),
    service.ERROR_CONTROL: ("ERROR_CONTROL", "Something else than a read was asked."),
    service.ERROR_STORE: ("ERROR_STORE", "The memory does not answer, or the meter has lost its store."),
}
