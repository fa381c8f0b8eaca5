#ifndef KC_EVAL_REPORT_PRIVATE_H
#define KC_EVAL_REPORT_PRIVATE_H

extern const char kc_report_style[];    /* eval/report_style.c */

#endif
